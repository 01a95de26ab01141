#!lua flags=allow-oom
-- Adds a ticket for a job whose own is lost.
--
-- KEYS[1]  the job's status hash
-- KEYS[2]  the work stream
-- ARGV[1]  the version at which the job was seen without a ticket
-- ARGV[2]  the job
--
-- Answers 1 if it was added, 0 if the job has moved on.

if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[2], '*', 'job', ARGV[2])
return 1
