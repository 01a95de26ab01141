#!lua flags=allow-oom
-- Acknowledges and deletes a ticket, if the consumer holds it. Neither XACK nor XDEL asks whose it is.
--
-- KEYS[1]  the work stream
-- ARGV[1]  the ticket
-- ARGV[2]  the consumer
--
-- Answers 1 if it was removed, 0 if it is not the consumer's.

local held = redis.pcall('XPENDING', KEYS[1], 'workers', ARGV[1], ARGV[1], 1, ARGV[2])
if held.err or #held == 0 then return 0 end
redis.call('XACK', KEYS[1], 'workers', ARGV[1])
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
