#!lua flags=allow-oom
-- Drops a lease that no running job accounts for, and its ticket.
--
-- KEYS[1]  the job's status hash
-- KEYS[2]  the leases
-- KEYS[3]  the work stream of the lease's ticket
-- ARGV[1]  the job
-- ARGV[2]  the lease as it was seen
-- ARGV[3]  its fence
-- ARGV[4]  its ticket
--
-- Answers 1 if it was dropped, 0 if it is another by now or the job runs under it.

if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
local fence = redis.pcall('HGET', KEYS[1], 'fence')
-- A status that can't be read does not say that the job does not run.
if type(fence) == 'table' or fence == ARGV[3] then return 0 end
redis.pcall('XACK', KEYS[3], 'workers', ARGV[4])
redis.pcall('XDEL', KEYS[3], ARGV[4])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
