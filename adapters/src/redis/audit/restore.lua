#!lua flags=allow-oom
-- Writes read models, unless the log has had more of what they follow from by now.
--
-- KEYS[1]  the event log
-- ARGV[1]  the place after which the log was not read, as XRANGE takes it
-- ARGV[2]  a field of events, and
-- ARGV[3]  its value: no newer entry may have that
-- ARGV[4]  how many newer entries may be looked through
-- ARGV[5]  the writes, as MessagePack: a list of commands
--
-- Answers 1 if they were made, 0 if the log has to be read on first.

local TYPES = {ZADD = 'zset', SADD = 'set'}

local newer = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[4])
if #newer == tonumber(ARGV[4]) then return 0 end
for _, entry in ipairs(newer) do
  local fields = entry[2]
  for n = 1, #fields, 2 do
    if fields[n] == ARGV[2] and fields[n + 1] == ARGV[3] then return 0 end
  end
end
for _, write in ipairs(cmsgpack.unpack(ARGV[5])) do
  local wanted = TYPES[write[1]]
  if wanted then
    local found = redis.call('TYPE', write[2]).ok
    if found ~= wanted then redis.call('DEL', write[2]) end
  end
  redis.call(unpack(write))
end
return 1
