-- Makes commits. Each is checked whole before its first write, in a protected call of its own, because Redis
-- does not roll back. The first line of the script, which says whether it may run above maxmemory, is put before this
-- text when it is loaded.
--
-- KEYS[1]  the event log
-- KEYS[2]  the leases
-- ARGV[1]  the prefix of the work streams' keys
-- ARGV[2]  the newest entry of the log that the caller has seen; empty where it has seen none
-- ARGV[3…] one commit each, as MessagePack: {guards, events, changes}, every leaf a string
--            guard   {name, key, …}            one of `holds` below
--            event   {field, value, …}         appended to the event log
--            change  {command, key, …}         a Redis command, or one of `special` below
--
-- Answers one list a commit:
--   {'ok', id…}         made; the stream ids of its events
--   {'guard', n}        nothing written: its n-th guard, from 1, does not hold
--   {'error', text}     Redis refused a command
--   {'wrong_type', key, found, wanted}  nothing written: a key holds a value of another type
--   {'regressed'}       nothing written: the log has lost what the caller has seen

local LOG, LEASES, QUEUES = KEYS[1], KEYS[2], ARGV[1]

local holds = {
  -- The aggregate has had this many events; '0' where there is none.
  version = function(key, expected) return (redis.call('HGET', key, 'v') or '0') == expected end,
  -- The key is there, or is not.
  present = function(key) return redis.call('EXISTS', key) == 1 end,
  absent = function(key) return redis.call('EXISTS', key) == 0 end,
  -- The policy names this class, or no classes at all: then those are offered that every program knows of.
  offered = function(key, class)
    local settings = redis.call('HGET', key, 'settings')
    local classes = settings and cjson.decode(settings).classes
    if not classes then return true end
    for _, offered in ipairs(classes) do
      if offered.name == class then return true end
    end
    return false
  end,
  -- The sorted set has fewer members than this, or no fewer.
  fewer = function(key, limit) return redis.call('ZCARD', key) < tonumber(limit) end,
  no_fewer = function(key, limit) return redis.call('ZCARD', key) >= tonumber(limit) end,
  -- Fewer members have this score.
  fewer_of_score = function(key, score, limit) return redis.call('ZCOUNT', key, score, score) < tonumber(limit) end,
  -- A user has fewer pending jobs: those that have a slot and do not run, the held and the delayed.
  fewer_pending = function(active, running, held, delayed, limit)
    local dispatched = redis.call('ZCARD', active) - redis.call('ZCOUNT', active, running, running)
    return dispatched + redis.call('ZCARD', held) + redis.call('ZCARD', delayed) < tonumber(limit)
  end,
  -- The hash's field is a number of at most this.
  at_most = function(key, field, limit) return tonumber(redis.call('HGET', key, field) or '0') <= tonumber(limit) end,
  -- The sorted set has fewer members above this score than this.
  fewer_since = function(key, since, limit)
    return redis.call('ZCOUNT', key, '(' .. since, '+inf') < tonumber(limit)
  end,
  -- The job's lease shows this beat.
  beat = function(job, expected)
    local lease = redis.call('HGET', LEASES, job)
    return lease ~= false and string.match(lease, '^%S+ (%S+)') == expected
  end,
}

-- Notes which of a user's values on a board is the best, and how many users there are.
local function settle(standings, highest, lowest, boards, metric, user)
  local greatest = redis.call('ZRANGE', standings, -1, -1, 'WITHSCORES')[2]
  if greatest then
    local is_new = redis.call('ZADD', highest, greatest, user) == 1
    redis.call('ZADD', lowest, redis.call('ZRANGE', standings, 0, 0, 'WITHSCORES')[2], user)
    if not is_new then return end
  else
    redis.call('ZREM', highest, user)
    redis.call('ZREM', lowest, user)
  end
  local users = redis.call('ZCARD', highest)
  if users > 0 then
    redis.call('ZADD', boards, users, metric)
  else
    redis.call('ZREM', boards, metric)
  end
end

-- Whether one member of standings comes before another: by its time, 16 hexadecimal digits, and of one time byte by byte.
-- `<` would ask the locale.
local function precedes(one, other)
  local at, other_at = tonumber(string.sub(one, 1, 16), 16), tonumber(string.sub(other, 1, 16), 16)
  if at ~= other_at then return at < other_at end
  for n = 17, math.min(#one, #other) do
    local a, b = string.byte(one, n), string.byte(other, n)
    if a ~= b then return a < b end
  end
  return #one < #other
end

-- The member of a sorted set whose score is nearest to `value`, from there on upwards or downwards.
local function nearest(set, value, is_upwards)
  if is_upwards then return redis.call('ZRANGEBYSCORE', set, value, '+inf', 'LIMIT', 0, 1)[1] end
  return redis.call('ZREVRANGEBYSCORE', set, value, '-inf', 'LIMIT', 0, 1)[1]
end

-- Notes a job among the records of a metric, unless one as good was there before it, and drops those it precedes and
-- beats. Sorted by value they are sorted by time.
local function note_record(records, member, value, is_greater_better)
  local as_good = nearest(records, value, is_greater_better)
  if as_good and precedes(as_good, member) then return end
  local no_better = nearest(records, value, not is_greater_better)
  while no_better and precedes(member, no_better) do
    redis.call('ZREM', records, no_better)
    no_better = nearest(records, value, not is_greater_better)
  end
  redis.call('ZADD', records, value, member)
end

local special = {
  -- Puts a job on the board of a metric, or takes it off. Among the records it stays.
  rank = function(_, member, value, rising, falling, standings, highest, lowest, boards, metric, user)
    redis.call('ZADD', standings, value, member)
    settle(standings, highest, lowest, boards, metric, user)
    local record = member .. '-' .. user
    note_record(rising, record, value, true)
    note_record(falling, record, value, false)
  end,
  unrank = function(_, member, standings, ...)
    redis.call('ZREM', standings, member)
    settle(standings, ...)
  end,
  -- Notes the ids of some of this commit's events in a hash.
  note_ids = function(ids, key, first, last)
    local known = redis.call('HGET', key, 'events')
    local added = table.concat(ids, ' ', tonumber(first), tonumber(last))
    redis.call('HSET', key, 'events', known and (known .. ' ' .. added) or added)
  end,
  -- Drops a job's lease, and acknowledges and deletes its ticket.
  release = function(_, job)
    local lease = redis.call('HGET', LEASES, job)
    if not lease then return end
    local class, ticket = string.match(lease, '(%S+) (%d+%-%d+)$')
    -- A lease that can't be read names no ticket, and a stream that is none holds none.
    if class then
      redis.pcall('XACK', QUEUES .. class, 'workers', ticket)
      redis.pcall('XDEL', QUEUES .. class, ticket)
    end
    redis.call('HDEL', LEASES, job)
  end,
}

-- The type of the key that each command changes.
local TYPES = {
  HSET = 'hash', HDEL = 'hash', HINCRBY = 'hash', SADD = 'set', SREM = 'set', XADD = 'stream',
  ZADD = 'zset', ZREM = 'zset', ZREMRANGEBYSCORE = 'zset',
}

-- The type of the keys that each special change changes, and where it names them.
local SPECIAL_TYPES = {
  rank = {'zset', 4, 9}, unrank = {'zset', 3, 6}, note_ids = {'hash', 2, 2},
}

-- What is wrong with a key, if it can't be changed: its command would fail after others were made.
local function misfit(key, wanted)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= wanted then return {'wrong_type', key, kind, wanted} end
end

local function misfit_of(change)
  if TYPES[change[1]] then return misfit(change[2], TYPES[change[1]]) end
  local kind, first, last = unpack(SPECIAL_TYPES[change[1]] or {'', 1, 0})
  for n = first, last do
    local wrong = misfit(change[n], kind)
    if wrong then return wrong end
  end
end

local function make(commit)
  local guards, events, changes = commit[1], commit[2], commit[3]
  local wrong = misfit(LEASES, 'hash')
  for _, change in ipairs(changes) do
    wrong = wrong or misfit_of(change)
  end
  if wrong then return wrong end
  for n, guard in ipairs(guards) do
    if not holds[guard[1]](unpack(guard, 2)) then return {'guard', n} end
  end
  local ids = {}
  for n, event in ipairs(events) do
    ids[n] = redis.call('XADD', LOG, '*', unpack(event))
  end
  for _, change in ipairs(changes) do
    local handler = special[change[1]]
    if handler then
      handler(ids, unpack(change, 2))
    else
      redis.call(unpack(change))
    end
  end
  return {'ok', unpack(ids)}
end

local answers = {}
if ARGV[2] ~= '' and #redis.call('XRANGE', LOG, ARGV[2], ARGV[2]) == 0 then
  for n = 3, #ARGV do answers[n - 2] = {'regressed'} end
  return answers
end
for n = 3, #ARGV do
  local made, answer = pcall(make, cmsgpack.unpack(ARGV[n]))
  if not made then
    answer = {'error', type(answer) == 'table' and answer.err or tostring(answer)}
  end
  answers[n - 2] = answer
end
return answers
