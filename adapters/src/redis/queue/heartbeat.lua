#!lua flags=allow-oom
-- Tells that a run is alive, and takes its ticket back should another consumer hold it.
--
-- KEYS[1]  the job's status hash
-- KEYS[2]  the leases
-- ARGV[1]  the job's id
-- ARGV[2]  the run's fence
-- ARGV[3]  the consumer that runs it
-- ARGV[4]  the prefix of the work streams' keys
--
-- Answers 'ok', 'cancel' (somebody asked for the job's end) or 'lost' (the fence is not the current one).

local fence, cancel = unpack(redis.call('HMGET', KEYS[1], 'fence', 'cancel_by'))
if fence ~= ARGV[2] then return 'lost' end

local lease = redis.call('HGET', KEYS[2], ARGV[1])
if lease then
  local beat, length, class, ticket = string.match(lease, '^%S+ (%d+) (%S+) %S+ (%S+) (%d+%-%d+)$')
  -- One that can't be read the reconciler replaces; the run goes on meanwhile.
  if not beat then return cancel and 'cancel' or 'ok' end
  local queue = ARGV[4] .. class
  redis.call('HSET', KEYS[2], ARGV[1],
    table.concat({ARGV[2], tostring(tonumber(beat) + 1), length, ARGV[3], class, ticket}, ' '))
  -- JUSTID leaves the delivery count alone; FORCE puts the ticket back into a group that was destroyed and made anew.
  local claim = {'XCLAIM', queue, 'workers', ARGV[3], '0', ticket, 'FORCE', 'JUSTID'}
  local claimed = redis.pcall(unpack(claim))
  if type(claimed) == 'table' and claimed.err and string.find(claimed.err, '^NOGROUP') then
    redis.call('XGROUP', 'CREATE', queue, 'workers', '0', 'MKSTREAM')
    redis.call(unpack(claim))
  end
end
return cancel and 'cancel' or 'ok'
