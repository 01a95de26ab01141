#!lua flags=allow-oom
-- Moves a ticket that can't be read into the quarantine, if the consumer holds it.
--
-- KEYS[1]  the work stream
-- KEYS[2]  the quarantine
-- ARGV[1]  the ticket
-- ARGV[2]  the consumer
-- ARGV[3]  the class
--
-- Answers 1 if it was moved, 0 if it is not the consumer's.

local NEWEST, WEEK = '1000', 7 * 24 * 3600

local held = redis.pcall('XPENDING', KEYS[1], 'workers', ARGV[1], ARGV[1], 1, ARGV[2])
if held.err or #held == 0 then return 0 end
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
local entry = {'class', ARGV[3], 'ticket', ARGV[1]}
for n, text in ipairs(found and found[2] or {}) do
  entry[#entry + 1] = n % 2 == 1 and 'raw:' .. text or text
end
-- A quarantine that is none keeps nothing from being moved.
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'none' and kind ~= 'stream' then redis.call('DEL', KEYS[2]) end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', NEWEST, '*', unpack(entry))
redis.call('EXPIRE', KEYS[2], WEEK)
redis.call('XACK', KEYS[1], 'workers', ARGV[1])
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
