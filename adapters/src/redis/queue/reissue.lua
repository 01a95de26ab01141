#!lua flags=allow-oom
-- Replaces a ticket that its holder claimed and never started by a new one at the end of the stream.
--
-- KEYS[1]  the work stream
-- KEYS[2]  the leases
-- ARGV[1]  the ticket
-- ARGV[2]  the consumer that holds it
-- ARGV[3]  how often it was delivered; empty if that does not matter
-- ARGV[4]  the job
--
-- Answers 1 if it was replaced, 0 if the ticket is not held as it was seen, or the job has been started.

local held = redis.pcall('XPENDING', KEYS[1], 'workers', ARGV[1], ARGV[1], 1, ARGV[2])
if held.err or #held == 0 then return 0 end
if ARGV[3] ~= '' and tostring(held[1][4]) ~= ARGV[3] then return 0 end
if redis.call('HEXISTS', KEYS[2], ARGV[4]) == 1 then return 0 end
redis.call('XACK', KEYS[1], 'workers', ARGV[1])
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('XADD', KEYS[1], '*', 'job', ARGV[4])
return 1
