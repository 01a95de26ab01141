#!lua flags=no-writes
-- Reads keys and the log's newer entries at one moment.
--
-- KEYS[1]  the event log
-- ARGV[1]  where to begin in the log, as XRANGE takes it
-- ARGV[2]  how many entries at most
-- ARGV[3]  the reads, as MessagePack: a list of commands
--
-- Answers {seconds, entries, replies}; a reply is {1, what the command answered} or {0, the text of its error}.

local replies = {}
for n, read in ipairs(cmsgpack.unpack(ARGV[3])) do
  local reply = redis.pcall(unpack(read))
  if type(reply) == 'table' and reply.err then
    replies[n] = {0, reply.err}
  else
    replies[n] = {1, reply}
  end
end
return {redis.call('TIME')[1], redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2]), replies}
