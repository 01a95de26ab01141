-- Takes or renews the place of an upload among those of its user, and reserves bytes of the user's quota for it.
--
-- KEYS[1]  the user's uploads in flight: a hash of submission to `<alive until, ms>:<bytes>:<idempotency key>`
-- KEYS[2]  the size of the user's submissions
-- ARGV[1]  the prefix of all submissions
-- ARGV[2]  how long an entry lives after it was renewed, in milliseconds
-- ARGV[3]  the submission; empty: only count
-- ARGV[4]  the SHA-256 of the idempotency key; empty: none
-- ARGV[5]  how many bytes it must get          ARGV[6]  how many it would like
-- ARGV[7]  the limit of uploads in flight; empty: it was admitted before
-- ARGV[8]  the limit of stored bytes; empty: it adds none
--
-- Answers {`held`, bytes reserved, bytes stored, bytes of the others, places of the others}, or `many` or `large` in
-- place of `held`, with nothing reserved.
--
-- Uploads under one idempotency key share a place and the largest of their reservations. An upload whose submission
-- exists has ended: its bytes are counted there. A time that is further ahead than an entry lives was written before the
-- clock was set back: that entry has expired as well.

local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local lives = tonumber(ARGV[2])
local mine = ARGV[4] ~= '' and ARGV[4] or ARGV[3]
local groups, ended = {}, {}
local entries = redis.call('HGETALL', KEYS[1])
for n = 1, #entries, 2 do
  local id = entries[n]
  if id ~= ARGV[3] then
    local till, bytes, key = string.match(entries[n + 1], '^(%d+):(%d+):(%x*)$')
    local left = till and tonumber(till) - now_ms
    if not left or left <= 0 or left > lives or redis.call('EXISTS', ARGV[1] .. id) == 1 then
      ended[#ended + 1] = id
    else
      local group = key ~= '' and key or id
      groups[group] = math.max(groups[group] or 0, tonumber(bytes))
    end
  end
end
local places, in_flight = 0, 0
for group, bytes in pairs(groups) do
  if group ~= mine then
    places = places + 1
    in_flight = in_flight + bytes
  end
end
local stored = tonumber(redis.call('HGET', KEYS[2], 'bytes') or '0') or 0

local function answer(what, bytes)
  return {what, string.format('%.0f', bytes), string.format('%.0f', stored), string.format('%.0f', in_flight), places}
end

if ARGV[3] == '' then return answer('held', 0) end
if ARGV[7] ~= '' and places >= tonumber(ARGV[7]) then return answer('many', 0) end
local needed, wanted = tonumber(ARGV[5]), tonumber(ARGV[6])
if ARGV[8] ~= '' then
  local left = tonumber(ARGV[8]) - stored - in_flight - needed
  if left < 0 then return answer('large', 0) end
  wanted = math.min(wanted, needed + math.floor(left / 2))
end
local bytes = math.max(needed, wanted)
if #ended > 0 then redis.call('HDEL', KEYS[1], unpack(ended)) end
redis.call('HSET', KEYS[1], ARGV[3], string.format('%.0f:%.0f:%s', now_ms + lives, bytes, ARGV[4]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return answer('held', bytes)
