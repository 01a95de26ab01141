#!lua flags=allow-oom
-- Moves what can't be read into the quarantine: a field of a hash, an entry of a stream, or a key of the wrong type.
--
-- KEYS[1]  the key           KEYS[2]  the quarantine
-- ARGV[1]  the type that the key must have
-- ARGV[2]  the field or the entry; without it only the type is looked at
-- ARGV[3]  of a field: the beginning of its content as it was seen, at most 1,024 bytes
--
-- Answers 1 if something was moved, 0 if it is gone or has been replaced.

local NEWEST, WEEK, KEPT_BYTES = '1000', 7 * 24 * 3600, 1024

local function set_aside(entry, fields)
  -- A quarantine that is none keeps nothing from being set aside.
  local kind = redis.call('TYPE', KEYS[2]).ok
  if kind ~= 'none' and kind ~= 'stream' then redis.call('DEL', KEYS[2]) end
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', NEWEST, '*', 'from', KEYS[1],
    'entry', string.sub(entry, 1, KEPT_BYTES), unpack(fields))
  redis.call('EXPIRE', KEYS[2], WEEK)
end

local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return 0 end
if kind ~= ARGV[1] then
  set_aside('a key of type ' .. kind, {})
  redis.call('DEL', KEYS[1])
  return 1
end
if not ARGV[2] then return 0 end

if kind == 'hash' then
  local content = redis.call('HGET', KEYS[1], ARGV[2])
  if not content or string.sub(content, 1, KEPT_BYTES) ~= ARGV[3] then return 0 end
  set_aside(ARGV[2], {'raw:content', ARGV[3]})
  redis.call('HDEL', KEYS[1], ARGV[2])
  return 1
end

local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
local fields = {}
for n, text in ipairs(found and found[2] or {}) do
  -- A ticket has one field; of one that has thousands the first say enough.
  if n > 20 then break end
  text = string.sub(text, 1, KEPT_BYTES)
  fields[#fields + 1] = n % 2 == 1 and 'raw:' .. text or text
end
set_aside(ARGV[2], fields)
redis.pcall('XACK', KEYS[1], 'workers', ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
return 1
