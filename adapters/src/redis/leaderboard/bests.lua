#!lua flags=no-writes
-- Reads so many users of a board, best first, and all whose value is that of the last, at one moment.
--
-- KEYS[1]  the best value of each user
-- ARGV[1]  how many users
-- ARGV[2]  'REV' if greater values are better, else empty
--
-- Answers users, each with its value behind it.

local count = tonumber(ARGV[1])
local page = ARGV[2] == '' and redis.call('ZRANGE', KEYS[1], 0, count - 1, 'WITHSCORES')
  or redis.call('ZRANGE', KEYS[1], 0, count - 1, ARGV[2], 'WITHSCORES')
if #page < 2 * count then return page end
local last = page[#page]
while #page > 0 and page[#page] == last do
  page[#page] = nil
  page[#page] = nil
end
for _, text in ipairs(redis.call('ZRANGE', KEYS[1], last, last, 'BYSCORE', 'WITHSCORES')) do
  page[#page + 1] = text
end
return page
