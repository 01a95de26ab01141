-- Tells how far a run is and how its numbers go, as long as the run counts.
--
-- KEYS[1]  the job's status hash
-- KEYS[2]  the job's progress: a hash of fence, progress, at (microseconds), curves, stage, since
--          (microseconds), done, reason
-- ARGV[1]  the run's fence
-- ARGV[2]  how far it is, as JSON; empty: as told before
-- ARGV[3]  all its curves, as JSON; empty: as told before
-- ARGV[4]  how long all that is kept from now on, in milliseconds
-- ARGV[5]  the name of its stage; empty: as told before
-- ARGV[6]  how much of the stage is done, as JSON
-- ARGV[7]  why the stage goes no further; empty: it does
--
-- Answers 1 if it is told, 0 if the fence is not the current one.
--
-- Without allow-oom: a Redis that is full has better use for its last room. So the first write is one that needs room.

if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
local before = redis.call('HMGET', KEYS[2], 'fence', 'progress', 'stage')
if before[1] ~= ARGV[1] then
  redis.call('HSET', KEYS[2], 'fence', ARGV[1])
  redis.call('HDEL', KEYS[2], 'progress', 'at', 'curves', 'stage', 'since', 'done', 'reason')
  before[2], before[3] = false, false
end
if ARGV[2] ~= '' and ARGV[2] ~= before[2] then
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[2], 'progress', ARGV[2], 'at', now[1] .. string.format('%06d', now[2]))
end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], 'curves', ARGV[3]) end
if ARGV[5] ~= '' then
  if ARGV[5] ~= before[3] then
    local now = redis.call('TIME')
    redis.call('HSET', KEYS[2], 'stage', ARGV[5], 'since', now[1] .. string.format('%06d', now[2]))
  end
  redis.call('HSET', KEYS[2], 'done', ARGV[6], 'reason', ARGV[7])
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
