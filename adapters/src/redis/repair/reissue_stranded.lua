#!lua flags=allow-oom
-- Replaces a ticket that was handed out once and that no consumer holds any more by a new one at the end of the stream.
--
-- KEYS[1]  the work stream
-- ARGV[1]  the ticket
-- ARGV[2]  the job
--
-- Answers 1 if it was replaced, 0 if somebody holds it or it is gone.

local held = redis.pcall('XPENDING', KEYS[1], 'workers', ARGV[1], ARGV[1], 1)
if held.err or #held > 0 then return 0 end
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[1], '*', 'job', ARGV[2])
return 1
