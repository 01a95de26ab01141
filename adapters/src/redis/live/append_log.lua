-- Shows a chunk of what a run prints, as long as the run counts.
--
-- KEYS[1]  the job's status hash
-- KEYS[2]  the run's live log: a stream whose ids are the offsets at which chunks end
-- ARGV[1]  the run's fence
-- ARGV[2]  the offset at which the chunk ends, above 0
-- ARGV[3]  the chunk
-- ARGV[4]  how many chunks are kept
-- ARGV[5]  how long they are kept after the newest, in milliseconds
--
-- Answers 1 if it is shown, or one that ends as late was before; 0 if the fence is not the current one.
--
-- Without allow-oom: a Redis that is full has better use for its last room, and the log has the chunk.

if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
-- Offsets are compared as texts of digits: a number of Lua is exact only up to 2^53.
local ends = newest and string.match(newest[1], '^%d+') or ''
if #ends > #ARGV[2] or (#ends == #ARGV[2] and ends >= ARGV[2]) then return 1 end
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], ARGV[2] .. '-0', 'b', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
