-- Purpose: correct times that are further ahead than Redcall writes them. They remain after Redis's
--   clock was ahead for a while: a dead worker would count as alive, a schedule would not tick, and
--   a retry would wait until the clock reaches that time again. Part of a heartbeat.
-- KEYS: 1 workers (zset), 2 names (zset), 3 ticks (hash), 4 deferred (zset), 5 schedule (zset),
--   6 attempts (hash), 7 cancelled (zset)
-- ARGV: 1 '1' to correct them, '0' only to check, 2 base of the queue's keys, 3 lease of the caller
--   (ms), 4 longest lease that settings allow (ms), 5 longest TTL of a tombstone (ms), 6 longest
--   deferral (ms), 7 longest delay of a retry (ms)
-- Returns: {key, member, ahead, ...}: the key's member that was, or is, this number of ms ahead of
--   now.
-- Derived keys: worker:<worker>, deferred:<id>, live.
-- Cost: O(128 members of each key), regardless of their size.
local repairs, base, own = ARGV[1] == '1', ARGV[2], tonumber(ARGV[3])
local longest, tombstone = tonumber(ARGV[4]), tonumber(ARGV[5])
local longest_deferral, longest_retry = tonumber(ARGV[6]), tonumber(ARGV[7])
local now, found = now_ms(), {}

local function text(ms)
  return string.format('%.0f', ms)
end

-- Returns the members; none if the key has another type: rotation.lua and others report that.
local function read(...)
  local reply = redis.pcall(...)
  return type(reply) == 'table' and not reply.err and reply or {}
end

local function write(...)
  if repairs then redis.call(...) end
end

local function note(key, member, at)
  found[#found + 1] = key
  found[#found + 1] = member
  found[#found + 1] = at - now
end

-- Returns members of a sorted set that are more than `ms` ahead, the furthest first.
local function beyond(key, ms)
  return read('ZRANGE', key, '+inf', '(' .. text(now + ms), 'BYSCORE', 'REV', 'LIMIT', 0, 64,
    'WITHSCORES')
end

-- Workers: at most two leases, by the lease that each reports. A worker without one may have the
-- longest lease.
local known = own
local workers = beyond(KEYS[1], 2 * own)
for i = 1, #workers, 2 do
  local worker, ends = workers[i], tonumber(workers[i + 1])
  local info = redis.pcall('GET', base .. ':worker:' .. worker)
  local lease = type(info) == 'string' and tonumber(string.match(info, '"lease_ms":(%d+)'))
  if ends > now + (lease and 2 * lease or longest) then
    note('workers', worker, ends)
    write('ZADD', KEYS[1], 'XX', text(now + (lease or longest)), worker)
  end
  known = math.max(known, lease or own)
end

-- Names: they follow from the workers, and are not reported.
local names = beyond(KEYS[2], 2 * known)
for i = 1, #names, 2 do
  write('ZADD', KEYS[2], 'XX', text(now + 2 * known), names[i])
end

-- The last tick of a schedule: not after now.
local ticks = read('HRANDFIELD', KEYS[3], 128, 'WITHVALUES')
for i = 1, #ticks, 2 do
  local last = tonumber(ticks[i + 1])
  if last and last > now then
    note('ticks', ticks[i], last)
    write('HSET', KEYS[3], ticks[i], text(now))
  end
end

-- Deferred requests: not beyond the timeout that their handlers set. Workers of earlier versions
-- did not store it.
local deferred = read('ZRANDMEMBER', KEYS[4], 64, 'WITHSCORES')
for i = 1, #deferred, 2 do
  local record, at = base .. ':deferred:' .. deferred[i], tonumber(deferred[i + 1])
  local known = redis.pcall('HMGET', record, 'within', 'raw')
  local timeout = tonumber(known[1]) or known[2] and longest_deferral
  if timeout and at > now + timeout then
    note('deferred', deferred[i], at)
    write('ZADD', KEYS[4], 'XX', text(now + timeout), deferred[i])
    write('HSET', record, 'deadline', text(now + timeout))
  end
end

-- Retries: not beyond their delay, which workers of earlier versions did not store. Scheduled
-- requests are skipped: callers choose their times. So are those with the id of a running request:
-- the record is that one's.
local delayed = redis.call('EXISTS', KEYS[6]) == 1
  and read('ZRANDMEMBER', KEYS[5], 64, 'WITHSCORES') or {}
for i = 1, #delayed, 2 do
  local record, at = redis.pcall('HGET', KEYS[6], delayed[i]), tonumber(delayed[i + 1])
  local pause = type(record) == 'string'
    and (tonumber(string.match(record, '"pause":(%d+)')) or longest_retry)
  if pause and at > now + pause and redis.pcall('HEXISTS', base .. ':live', delayed[i]) ~= 1 then
    note('schedule', delayed[i], at)
    write('ZADD', KEYS[5], 'XX', text(now + pause), delayed[i])
  end
end

local tombstones = beyond(KEYS[7], tombstone)
for i = 1, #tombstones, 2 do
  note('cancelled', tombstones[i], tonumber(tombstones[i + 1]))
  write('ZADD', KEYS[7], 'XX', text(now + tombstone), tombstones[i])
end
return found
