#!lua flags=allow-oom
-- Takes or renews a leader lease, which one process holds at a time.
--
-- A lease that lasts longer than the requested time was granted by a clock that was set back later. Its holder may be
-- dead, so the lease is taken. If the holder is alive, the process that asks for less time leads from then on.
--
-- KEYS[1]  the lease
-- ARGV[1]  the process that asks for it
-- ARGV[2]  its duration in milliseconds
--
-- Answers 1 if the lease is ARGV[1]'s, 0 if another process holds it.

-- A value of another type, or one without an expiry, is no lease: SET replaces it.
local holder = redis.pcall('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if type(holder) == 'string' and holder ~= ARGV[1] and left >= 0 and left <= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
