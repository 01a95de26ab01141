#!lua flags=no-writes
-- Reads what a user has in use, at one moment.
--
-- KEYS[1]  the user's accepted jobs of the hour      KEYS[2]  those that were given back
-- KEYS[3]  their uploads of the hour                 KEYS[4]  their jobs that have a slot
-- KEYS[5]  their held jobs                           KEYS[6]  their delayed jobs
-- KEYS[7]  the size of their submissions
-- ARGV[1]  the hour, in milliseconds                 ARGV[2]  the prefix of the status of all jobs
-- ARGV[3]  how many jobs fit into the hour           ARGV[4]  how many uploads
-- ARGV[5]  the score of a dispatched job             ARGV[6]  that of a running one
-- ARGV[7…] held jobs that can't be read, which are passed over
--
-- Answers {microseconds since the epoch, jobs, fits at, refunds, uploads, fits at, active, running, pending, bytes, held job, its hash}. Where one
-- more fits, `fits at` is empty; otherwise it is the time in milliseconds of what has to leave the hour first. The last
-- two are empty where no job is held.

-- How many entries of the held jobs are looked at. An index that is right needs one.
local LOOKED_AT = 64

local now = redis.call('TIME')
local since = '(' .. string.format('%d', now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[1])

local function window(key, limit)
  local count = redis.call('ZCOUNT', key, since, '+inf')
  if count < tonumber(limit) then return count, '' end
  local oldest = redis.call('ZREVRANGE', key, limit - 1, limit - 1, 'WITHSCORES')
  return count, oldest[2] or ''
end

local jobs, job_fits = window(KEYS[1], ARGV[3])
local uploads, upload_fits = window(KEYS[3], ARGV[4])
local dispatched = redis.call('ZCOUNT', KEYS[4], ARGV[5], ARGV[5])
local running = redis.call('ZCOUNT', KEYS[4], ARGV[6], ARGV[6])
local pending = dispatched + redis.call('ZCARD', KEYS[5]) + redis.call('ZCARD', KEYS[6])
-- What is no longer held is not to be dispatched, whatever the index says.
local held, unreadable = '', {}
for n = 7, #ARGV do unreadable[ARGV[n]] = true end
for _, id in ipairs(redis.call('ZRANGE', KEYS[5], 0, LOOKED_AT - 1)) do
  if not unreadable[id] and redis.pcall('HGET', ARGV[2] .. id, 'state') == 'held' then
    held = id
    break
  end
end
return {
  string.format('%d', now[1] * 1000000 + now[2]), jobs, job_fits, redis.call('ZCOUNT', KEYS[2], since, '+inf'), uploads, upload_fits,
  redis.call('ZCARD', KEYS[4]), running, pending, redis.call('HGET', KEYS[7], 'bytes') or '0',
  held, held ~= '' and redis.call('HGETALL', ARGV[2] .. held) or {},
}
