#!lua flags=allow-oom
-- Compares the size of all of a user's submissions with the sum of their sizes, and restores it where that is asked for.
--
-- KEYS[1]  the total
-- KEYS[2]  the user's submissions
-- ARGV[1]  the prefix of the submissions' hashes
-- ARGV[2]  'verify' or 'rebuild'
--
-- Answers {found, wanted} as texts; a total that is absent is 0.

local wanted = 0
-- What can't be read is told where the submissions are compared, and counts for nothing here.
local ids = redis.pcall('ZRANGE', KEYS[2], 0, -1)
for _, id in ipairs(ids.err and {} or ids) do
  local bytes = redis.pcall('HGET', ARGV[1] .. id, 'bytes')
  wanted = wanted + (type(bytes) == 'string' and tonumber(bytes) or 0)
end
wanted = string.format('%.0f', wanted)
local found = redis.pcall('HGET', KEYS[1], 'bytes') or '0'
if type(found) == 'table' then found = found.err end
if found ~= wanted and ARGV[2] == 'rebuild' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'bytes', wanted)
end
return {found, wanted}
