#!lua flags=no-writes
-- Reads the first members of a sorted set and those that are tied with the last of them, at one moment. Tied ones come by
-- their names, whichever scores come first.
--
-- KEYS[1]  the sorted set
-- ARGV[1]  how many members
-- ARGV[2]  'REV' if great scores come first, else empty
-- ARGV[3]  how many of the tied ones at most; -1 for all of them
--
-- Answers members, each with its score behind it.

local count = tonumber(ARGV[1])
local page
if ARGV[2] == '' then
  page = redis.call('ZRANGE', KEYS[1], 0, count - 1, 'WITHSCORES')
else
  page = redis.call('ZRANGE', KEYS[1], 0, count - 1, ARGV[2], 'WITHSCORES')
end
if #page < 2 * count then return page end
local last = page[#page]
while #page > 0 and page[#page] == last do
  page[#page] = nil
  page[#page] = nil
end
for _, text in ipairs(redis.call('ZRANGE', KEYS[1], last, last, 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')) do
  page[#page + 1] = text
end
return page
