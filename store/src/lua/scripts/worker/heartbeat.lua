-- Purpose: renew this worker's registration; report expired workers and missed messages, and repair
--   inconsistent leases.
-- KEYS: 1 workers (zset), 2 names (zset), 3 info of this worker, 4 parked names (set), 5 live
--   (hash), 6 leases of this worker (hash), 7 schedule (zset), 8 throttled (zset), 9 paused
--   (string), 10 cancelled (zset), 11 limited names (hash), 12 deferred (zset), 13 lanes (zset), 14
--   and 15 the lane inboxes of this worker (lists)
-- ARGV: 1 worker id, 2 lease (ms), 3 info (JSON), 4 base of the queue's keys, then the names that
--   it handles
-- Returns: {now, {dead worker, ...}, {parked name, 1 if a live worker handles it else 0, ...},
--   held, known, paused, due, {cancelled id, ...}, {limited name, the same, ...}, over}. now: Redis
--   time, ms. At most 16 dead workers and 64 parked names a call. held: number of requests that
--   this worker has leased. known: 0 if it was not in the registry. paused: 1 or 0. due: when the
--   next request of the schedule is due (ms), 0 for none. cancelled: its requests that were
--   cancelled, leased or in its lane inboxes. over: number of deferred requests that were not
--   settled in time.
-- Derived keys: leases:<worker> and inbox:<worker>:<n> of other workers, deferred:<id>.
-- Cost: O(names * log names); O(leases of this worker) while there are tombstones; O(leases of the
--   queue) once, if the registry was lost.
local now, lease, base = now_ms(), tonumber(ARGV[2]), ARGV[4]
local ends = string.format('%.0f', now + lease)
local past = string.format('%.0f', now - 1)
local known = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
if redis.call('EXISTS', KEYS[1]) == 0 then
  -- The registry was lost, or no worker was here before it expired: every worker that still has
  -- leases is dead.
  for _, of in ipairs(redis.call('HVALS', KEYS[5])) do
    local worker = worker_of(of)
    if worker ~= DEFERRED then redis.call('ZADD', KEYS[1], 'NX', past, worker) end
  end
end
redis.call('ZADD', KEYS[1], ends, ARGV[1])
redis.call('PEXPIRE', KEYS[1], 2592000000)
for i = 5, #ARGV do redis.call('ZADD', KEYS[2], 'GT', ends, ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[2], 86400000)
redis.call('SET', KEYS[3], ARGV[3], 'PX', string.format('%.0f', 2 * lease))

-- Lanes: an entry means that Redis may still move a request to a lane inbox of that worker, up to a
-- minute after its lease has ended. One that is not registered any more has to be found dead again
-- if it has requests: its pop was served late, or a worker of an earlier version took it over.
if redis.call('EXISTS', KEYS[13], KEYS[14], KEYS[15]) > 0 then
  if redis.call('ZSCORE', KEYS[13], ARGV[1]) or redis.call('EXISTS', KEYS[14], KEYS[15]) > 0 then
    redis.call('ZADD', KEYS[13], string.format('%.0f', now + lease + 60000), ARGV[1])
    redis.call('PEXPIRE', KEYS[13], 2592000000)
  end
  local of = redis.call('ZRANGE', KEYS[13], 0, 15, 'WITHSCORES')
  for i = 1, #of, 2 do
    local worker, inbox = of[i], base .. ':inbox:' .. of[i] .. ':'
    if not redis.call('ZSCORE', KEYS[1], worker) then
      if redis.call('EXISTS', inbox .. '0', inbox .. '1') > 0 then
        redis.call('ZADD', KEYS[1], past, worker)
      elseif tonumber(of[i + 1]) < now then
        redis.call('ZREM', KEYS[13], worker)
      end
    end
  end
end

local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now),
  'LIMIT', 0, 16)
local parked = {}
for i, name in ipairs(redis.call('SRANDMEMBER', KEYS[4], 64)) do
  parked[2 * i - 1] = name
  parked[2 * i] = redis.call('ZSCORE', KEYS[2], name) and 1 or 0
end

-- Both directions: a live id without a lease would refuse requests with that id forever, a lease
-- without a live id would admit them, and an unregistered worker would never be found dead.
local held, deferred = redis.call('HLEN', KEYS[6]), redis.call('ZCARD', KEYS[12])
local some = redis.call('HRANDFIELD', KEYS[5], 16, 'WITHVALUES')
for i = 1, #some, 2 do
  local id, worker = some[i], worker_of(some[i + 1])
  if worker == DEFERRED then
    if redis.call('HEXISTS', base .. ':deferred:' .. id, 'raw') == 0 then
      redis.call('HDEL', KEYS[5], id)
    end
  elseif redis.call('HEXISTS', base .. ':leases:' .. worker, id) == 0 then
    redis.call('HDEL', KEYS[5], id)
  else
    redis.call('ZADD', KEYS[1], 'NX', past, worker)
  end
end
if held > redis.call('HLEN', KEYS[5]) - deferred then
  for _, id in ipairs(redis.call('HKEYS', KEYS[6])) do
    redis.call('HSETNX', KEYS[5], id, holder(ARGV[1]))
  end
end

local cancelled = {}
if redis.call('EXISTS', KEYS[10]) == 1 then
  redis.call('ZREMRANGEBYSCORE', KEYS[10], '-inf', string.format('%.0f', now))
  -- As many as a queue may hold by default; the ones that expire first are removed.
  local excess = redis.call('ZCARD', KEYS[10]) - 1000000
  if excess > 0 then redis.call('ZREMRANGEBYRANK', KEYS[10], 0, math.min(excess, 10000) - 1) end
  for _, id in ipairs(redis.call('HKEYS', KEYS[6])) do
    if redis.call('ZSCORE', KEYS[10], id) then cancelled[#cancelled + 1] = id end
  end
  for i = 14, 15 do
    for _, raw in ipairs(redis.call('LRANGE', KEYS[i], 0, 255)) do
      local id = text_field(raw, 'id')
      if id and redis.call('ZSCORE', KEYS[10], id) then cancelled[#cancelled + 1] = id end
    end
  end
end
local first = redis.call('ZRANGE', KEYS[7], 0, 0, 'WITHSCORES')
local throttled = redis.call('ZRANGE', KEYS[8], 0, 0, 'WITHSCORES')
local due = tonumber(first[2] or 0)
if throttled[2] and (due == 0 or tonumber(throttled[2]) < due) then due = tonumber(throttled[2]) end
local limited = {}
for i, name in ipairs(redis.call('HKEYS', KEYS[11])) do
  limited[2 * i - 1] = name
  limited[2 * i] = redis.call('ZSCORE', KEYS[2], name) and 1 or 0
end
local over = deferred > 0
  and redis.call('ZCOUNT', KEYS[12], '-inf', string.format('%.0f', now)) or 0
return { now, dead, parked, held, known, redis.call('EXISTS', KEYS[9]), due, cancelled, limited,
  over }
