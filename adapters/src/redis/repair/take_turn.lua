#!lua flags=allow-oom
-- Takes a turn that one process has at a time, or keeps it.
--
-- A turn that would last longer than is asked for now was given by a clock that has been set back since. Its holder
-- may be dead, so it is taken; should it be alive, whoever asks for less time has the turn from then on.
--
-- KEYS[1]  the turn
-- ARGV[1]  who wants it
-- ARGV[2]  for how many milliseconds
--
-- Answers 1 if it is theirs, 0 if another has it.

-- What is no turn, or would never pass, was given by nobody: SET replaces it, whatever it is.
local holder = redis.pcall('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if type(holder) == 'string' and holder ~= ARGV[1] and left >= 0 and left <= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
