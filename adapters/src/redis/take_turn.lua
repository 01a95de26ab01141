#!lua flags=allow-oom
-- Takes a turn that one process has at a time, or keeps it.
--
-- KEYS[1]  the turn
-- ARGV[1]  who wants it
-- ARGV[2]  for how many milliseconds
--
-- Answers 1 if it is theirs, 0 if another has it.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
