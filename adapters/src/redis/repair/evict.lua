#!lua flags=allow-oom
-- Takes the tickets of a consumer whose name is no worker's, at most 100 a call, puts them back at the end of the stream,
-- and removes the consumer once it holds none.
--
-- KEYS[1]  the work stream
-- ARGV[1]  the consumer
--
-- Answers how many tickets it held.

local held = redis.pcall('XPENDING', KEYS[1], 'workers', '-', '+', 100, ARGV[1])
if held.err then return 0 end
for _, entry in ipairs(held) do
  local found = redis.call('XRANGE', KEYS[1], entry[1], entry[1])[1]
  for n = 1, found and #found[2] or 0, 2 do
    if found[2][n] == 'job' then
      redis.call('XADD', KEYS[1], '*', 'job', found[2][n + 1])
      break
    end
  end
  redis.call('XACK', KEYS[1], 'workers', entry[1])
  redis.call('XDEL', KEYS[1], entry[1])
end
if #held == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'workers', ARGV[1]) end
return #held
