-- Purpose: a worker says that it lives, what it maps and what it does; it learns who does not.
-- KEYS: 1 workers (zset), 2 names (zset), 3 info of this worker, 4 parked names (set), 5 live
--   (hash), 6 leases of this worker (hash)
-- ARGV: 1 worker id, 2 lease (ms), 3 info (JSON), then the names that it maps
-- Returns: {now, {dead worker, ...}, {parked name, 1 if a live worker maps it else 0, ...}, held}.
--   now: Redis time, ms. At most 16 dead workers and 64 names a call. held: how many requests this
--   worker has leased.
-- Derived keys: none.
-- Cost: O(names * log names); O(leases of the queue) once, if the registry was lost.
local now, lease = now_ms(), tonumber(ARGV[2])
local ends = string.format('%.0f', now + lease)
if redis.call('EXISTS', KEYS[1]) == 0 then
  -- The registry was lost, or nobody was here for longer than it is kept: whoever still has
  -- leases is dead.
  for _, worker in ipairs(redis.call('HVALS', KEYS[5])) do
    redis.call('ZADD', KEYS[1], 'NX', string.format('%.0f', now - 1), worker)
  end
end
redis.call('ZADD', KEYS[1], ends, ARGV[1])
redis.call('PEXPIRE', KEYS[1], 2592000000)
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
return { now, dead, parked, redis.call('HLEN', KEYS[6]) }
