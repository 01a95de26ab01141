#!lua flags=allow-oom
-- Sets the lease of a running job whose own is lost.
--
-- KEYS[1]  the job's status hash
-- KEYS[2]  the leases
-- ARGV[1]  the version at which the job was seen without its lease
-- ARGV[2]  the job
-- ARGV[3]  the lease
--
-- Answers 1 if it was set, 0 if the job has moved on or has its lease again.

local version, fence = unpack(redis.call('HMGET', KEYS[1], 'v', 'fence'))
if version ~= ARGV[1] or not fence then return 0 end
local lease = redis.call('HGET', KEYS[2], ARGV[2])
if lease and string.match(lease, '^%S+') == fence then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
