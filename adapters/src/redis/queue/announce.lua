#!lua flags=allow-oom
-- Tells that a worker is there.
--
-- KEYS[1]  its presence
-- KEYS[2]  the workers that tell of themselves, by the time in milliseconds until which they are known
-- ARGV[1]  what it tells of itself
-- ARGV[2]  for how many milliseconds
-- ARGV[3]  its name

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('TYPE', KEYS[2]).ok ~= 'zset' then redis.call('DEL', KEYS[2]) end
redis.call('ZADD', KEYS[2], string.format('%d', now + ARGV[2]), ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%d', now))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
