#!lua flags=allow-oom
-- Sets aside the members of an index that no hash accounts for. A commit changes a hash and its indexes together, so
-- what is seen here is no job on its way.
--
-- KEYS[1]  the index           KEYS[2]  the quarantine
-- ARGV[1]  'set' or 'zset'     ARGV[2]  where to go on; '0' is the beginning
-- ARGV[3]  the prefix of the hashes of its members
-- ARGV[4]  the field of such a hash that tells whether it belongs here
-- ARGV[5…] what the field may hold: '' is a hash or field that is not there, '*' anything that is
--
-- Answers {where to go on, how many members were set aside}. An index of another type is set aside as a whole.

local NEWEST, WEEK, KEPT_BYTES = '1000', 7 * 24 * 3600, 1024

local function set_aside(entry)
  -- A quarantine that is none keeps nothing from being set aside.
  local kind = redis.call('TYPE', KEYS[2]).ok
  if kind ~= 'none' and kind ~= 'stream' then redis.call('DEL', KEYS[2]) end
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', NEWEST, '*', 'from', KEYS[1], 'entry', string.sub(entry, 1, KEPT_BYTES))
  redis.call('EXPIRE', KEYS[2], WEEK)
end

local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {'0', 0} end
if kind ~= ARGV[1] then
  set_aside('a key of type ' .. kind)
  redis.call('DEL', KEYS[1])
  return {'0', 1}
end

local wanted = {}
for n = 5, #ARGV do wanted[ARGV[n]] = true end

local function belongs(member)
  if #member ~= 32 or string.find(member, '[^0-9a-f]') then return false end
  local found = redis.pcall('HGET', ARGV[3] .. member, ARGV[4])
  -- A hash that can't be read says nothing against its member.
  if type(found) == 'table' then return true end
  if not found then return wanted[''] end
  return wanted['*'] or wanted[found]
end

local scan, step = 'SSCAN', 1
if kind == 'zset' then scan, step = 'ZSCAN', 2 end
local page = redis.call(scan, KEYS[1], ARGV[2], 'COUNT', 500)
local count = 0
for n = 1, #page[2], step do
  local member = page[2][n]
  if not belongs(member) then
    set_aside(member)
    redis.call(kind == 'set' and 'SREM' or 'ZREM', KEYS[1], member)
    count = count + 1
  end
end
return {page[1], count}
