#!lua flags=allow-oom
-- Hands tickets of a dead consumer to a living one, at most 500 a call, and removes the dead one once it holds none:
-- XGROUP DELCONSUMER would delete what is pending for it.
--
-- KEYS[1]  the work stream
-- ARGV[1]  the dead consumer
-- ARGV[2]  the living consumer; none only removes the dead one
--
-- Answers how many tickets it looked at, and those of them that were handed over, as XCLAIM does: one that vanished from
-- the stream is dropped.

local held = redis.pcall('XPENDING', KEYS[1], 'workers', '-', '+', 500, ARGV[1])
if held.err then return {0, {}} end -- no such stream or group: nothing is held
if #held == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'workers', ARGV[1])
  return {0, {}}
end
if not ARGV[2] then return {#held, {}} end
local claim = {'XCLAIM', KEYS[1], 'workers', ARGV[2], '0'}
for _, entry in ipairs(held) do claim[#claim + 1] = entry[1] end
return {#held, redis.call(unpack(claim))}
