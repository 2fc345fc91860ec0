-- Purpose: withdraw cancelled requests of one queue, unless other callers wait for them.
-- KEYS: 1 queue list, 2 live (hash), 3 schedule (zset), 4 scheduled (hash), 5 cancelled (zset),
--   6 control channel; then, by the indices in ARGV: records of idempotency keys (hashes)
-- ARGV: per request: id; TTL of its tombstone (ms); key index of the record of its call (0: none)
-- Returns: {results, {id, name, nonce, ...}}. results: one character per request: 'L' leased, its
--   worker was notified; 'S' it was scheduled and is now at the head of the queue, where it ends
--   without being started; 'D' it was deferred, and has ended; 'Q' none of these: queued, ended or
--   unknown (where workers have lanes it may run in one, so they are notified); 'K' kept, since
--   other callers wait or it has ended. Then those of 'D' whose end has to be published.
-- Derived keys: lanes of the queue; status:<id> of requests that had joined a call; those of
--   deferred.lua.
-- Cost: O(requests * log tombstones). Searches no list: a leased request with a tombstone is
--   answered instead of started.
local now = now_ms()
local results, notified, events = {}, {}, {}
local base = string.match(KEYS[2], '^(.*):live$')
-- True if workers have lanes: then an unknown request may run in one of them.
local has_lanes

local function set_tombstone(id, ttl)
  local has = worker_of(redis.call('HGET', KEYS[2], id))
  local record = has == DEFERRED and read_deferred(base, id)
  if record then
    end_deferred(base, id, record, 'gone', 'cancelled')
    noted = 0
    note_event(events, id, record)
    return 'D'
  end
  redis.call('ZADD', KEYS[5], 'GT', string.format('%.0f', now + ttl), id)
  if redis.call('PTTL', KEYS[5]) < ttl then
    redis.call('PEXPIRE', KEYS[5], string.format('%.0f', ttl))
  end
  local raw = redis.call('HGET', KEYS[4], id)
  if raw then
    redis.call('LPUSH', KEYS[1], raw)
    undo('LPOP', KEYS[1])
    redis.call('HDEL', KEYS[4], id)
    undo('HSET', KEYS[4], id, raw)
    redis.call('ZREM', KEYS[3], id)
    return 'S'
  end
  if not has then
    if has_lanes == nil then has_lanes = redis.pcall('EXISTS', base .. ':lanes') == 1 end
    if has_lanes then notified[#notified + 1] = id end
    return 'Q'
  end
  notified[#notified + 1] = id
  return 'L'
end

local function is_wanted(record)
  for _, field in ipairs(redis.call('HKEYS', record)) do
    if field == 'keep' or field == 'tail' or string.sub(field, 1, 2) == 'w:' then return true end
  end
  return false
end

local function withdraw(id, ttl, record)
  if not record then return set_tombstone(id, ttl) end
  local known = redis.call('HMGET', record, 'id', 'deadline', 'w:' .. id)
  local running, deadline = known[1], tonumber(known[2] or 0)
  local joined = redis.call('HDEL', record, 'w:' .. id) == 1
  if joined then undo('HSET', record, 'w:' .. id, known[3]) end
  local _, _, kept = wants_of(known[3] or '')
  -- No other script ends a request that waits for the end of another.
  if kept and running ~= id then
    local base = string.match(record, '^(.*):idem:')
    noted_at = now
    note_status(base .. ':status:' .. id, kept, 'Error',
      ',"attempt":0,"error":{"code":"cancelled","message":"the call was cancelled"}')
  end
  -- A missing record, or one of a later call, does not concern this request.
  if not running or not (joined or running == id) then return set_tombstone(id, ttl) end
  if is_wanted(record) then return 'K' end
  -- Other callers may have later deadlines than this one. A deadline is a client's choice: accept
  -- at most a year.
  local left = deadline == 0 and 86400000 or math.min(deadline - now + 30000, 31536000000)
  local result = set_tombstone(running, math.max(ttl, left))
  -- Last: a record without its call would block later callers. A stored end is kept.
  if result == 'D' then redis.pcall('DEL', record) else redis.call('DEL', record) end
  return result
end

local failed
for i = 1, #ARGV, 3 do
  local before = outbox_size
  local ok, result = attempt(withdraw, ARGV[i], tonumber(ARGV[i + 1]), KEYS[tonumber(ARGV[i + 2])])
  noted = 0
  if not ok then outbox_size, failed = before, text_of(result) end
  results[#results + 1] = ok and result or 'Q'
end
for i = 1, #notified, 100 do
  -- May be forbidden to this user, or lost; heartbeats repeat it.
  redis.pcall('SPUBLISH', KEYS[6],
    'cancel ' .. table.concat(notified, ' ', i, math.min(i + 99, #notified)))
end
announce()
-- The other requests were withdrawn; a retry is harmless.
if failed then return redis.error_reply(failed) end
return { table.concat(results), events }
