#!lua flags=allow-oom
-- Makes the consumer group of a work stream at its beginning, so that what was added before is handed out too.
--
-- KEYS[1]  the work stream

local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], 'workers', '0', 'MKSTREAM')
if made.err and not string.find(made.err, '^BUSYGROUP') then return made end
return redis.status_reply('OK')
