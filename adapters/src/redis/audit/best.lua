#!lua flags=allow-oom
-- Compares the best of one user on a board with the user's standings, or the count of a board's users with the board,
-- and restores it where that is asked for.
--
-- KEYS[1]  the user's standings in the metric
-- KEYS[2]  the greatest value of each user
-- KEYS[3]  the least value of each user
-- KEYS[4]  all metrics, by how many users have a value
-- ARGV[1]  the metric
-- ARGV[2]  the user; empty to look at the count
-- ARGV[3]  'verify' or 'rebuild'
--
-- Answers a list of {key, found, wanted}, as texts, of what differs.

local differences = {}

local function compare(key, member, wanted)
  local found = redis.pcall('ZSCORE', key, member) or 'absent'
  if type(found) == 'table' then found = found.err end
  if found == wanted then return end
  table.insert(differences, {key, member .. ' ' .. found, member .. ' ' .. wanted})
  if ARGV[3] ~= 'rebuild' then return end
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', key) end
  redis.call('ZREM', key, member)
  if wanted ~= 'absent' then redis.call('ZADD', key, wanted, member) end
end

local function count(key)
  local users = redis.pcall('ZCARD', key)
  return type(users) == 'number' and users or 0
end

if ARGV[2] ~= '' then
  local greatest = redis.pcall('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
  local least = redis.pcall('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
  compare(KEYS[2], ARGV[2], greatest or 'absent')
  compare(KEYS[3], ARGV[2], least or 'absent')
else
  local users = count(KEYS[2])
  compare(KEYS[4], ARGV[1], users > 0 and tostring(users) or 'absent')
end
return differences
