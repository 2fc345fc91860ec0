-- Purpose: a worker says that it lives, what it maps and what it does; it learns who does not.
-- KEYS: 1 workers (zset), 2 names (zset), 3 info of this worker, 4 parked names (set)
-- ARGV: 1 worker id, 2 lease (ms), 3 info (JSON), then the names that it maps
-- Returns: {now, {dead worker, ...}, {parked name, 1 if a live worker maps it else 0, ...}}. now:
--   Redis time, ms. At most 16 dead workers and 64 names a call.
-- Derived keys: none.
-- Cost: O(names * log names).
local now, lease = now_ms(), tonumber(ARGV[2])
local ends = string.format('%.0f', now + lease)
redis.call('ZADD', KEYS[1], ends, ARGV[1])
redis.call('PEXPIRE', KEYS[1], 2592000000) -- 30 days: whoever comes back must find the dead
for i = 4, #ARGV do redis.call('ZADD', KEYS[2], 'GT', ends, ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[2], 86400000)
redis.call('SET', KEYS[3], ARGV[3], 'PX', string.format('%.0f', 2 * lease))

local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now),
  'LIMIT', 0, 16)
local parked = {}
for i, name in ipairs(redis.call('SRANDMEMBER', KEYS[4], 64)) do
  parked[2 * i - 1] = name
  parked[2 * i] = redis.call('ZSCORE', KEYS[2], name) and 1 or 0
end
return { now, dead, parked }
