#!lua flags=allow-oom
-- Tells that a worker is there.
--
-- KEYS[1]  its presence
-- ARGV[1]  what it tells of itself
-- ARGV[2]  for how many milliseconds

return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
