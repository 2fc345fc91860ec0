-- Purpose: enqueue one request that needs more than a plain push: scheduled, fetched later, or
--   under an idempotency key (then it may join the running call, or get the end of an earlier
--   call).
-- KEYS: 1 queue list, 2 workers (zset), 3 schedule (zset), 4 scheduled (hash), 5 own response key,
--   6 control channel, 7 cancelled (zset), 8 limited names (hash), 9 parked names (set), 10
--   deferred (zset), 11 mark that the answers kept are at their limit (string); then, by the
--   indices in ARGV: record of the idempotency key (hash), the caller's channel, the job's states
--   (list, and channel)
-- ARGV: 1 maximum length of queue and schedule (0: no cap), 2 '1' if a caller waits now, which
--   requires a live worker, else '0', 3 id, 4 envelope, 5 when it is due (Redis ms, 0: now), 6
--   pending frame for the response key ('': none), 7 TTL of the answer (ms, 0: no caller wants
--   one), 8 digest of the data, 9 deadline (Redis ms, 0: none), 10 TTL of the record while the call
--   runs (ms), 11 key index of the record (0: none), 12 key index of the channel (0: none), 13 key
--   index of the states (0: not tracked), 14 their TTL before it starts (ms), 15 after it has ended
--   (ms)
-- Returns: {code, id of the request that runs, or ran}. code: 'queued' (also if it was before, by a
--   call whose reply was lost), 'deduplicated' (joined the running call), 'replayed' (the end of
--   the call was pushed to the own response key), 'conflict' (the same key with other data),
--   'too_many_waiters' (100 callers wait already), 'no_workers', 'full', 'answers_full' (it wants
--   an answer, and those kept are at their limit). The last five have enqueued nothing.
-- Derived keys: response:<id> and status:<id> of callers that joined a cancelled call;
--   parked:<name> of the parked names; answers of the queue.
-- Cost: O(log schedule); O(1) if it is due; O(waiters) more if a cancelled call begins again.
local cap, id, envelope, due = tonumber(ARGV[1]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local pending, ttl, deadline = ARGV[6], tonumber(ARGV[7]), ARGV[9]
local record, channel = KEYS[tonumber(ARGV[11])], KEYS[tonumber(ARGV[12])]
local status = KEYS[tonumber(ARGV[13])]
local now = now_ms()

-- Adds the first state. A repeated call whose reply was lost returns before this.
local function note_pending()
  noted_at = now
  if status then note_status(status, ARGV[14], 'Pending', ',"attempt":0') end
end

-- Stores the frame by which a fetch distinguishes a queued request from an unknown one. Only once.
local function mark()
  if pending == '' or redis.call('LLEN', KEYS[5]) > 0 then return end
  redis.call('RPUSH', KEYS[5], pending)
  undo('RPOP', KEYS[5])
  redis.call('PEXPIRE', KEYS[5], ttl)
end

-- Pushes the stored end as a frame for this caller.
local function replay(tail)
  local frame = '{"id":"' .. id .. '","response_key":"' .. KEYS[5] .. '"' .. tail
  -- By a call whose reply was lost. Compared by Redis: the last element may be of any size.
  if redis.call('LPOS', KEYS[5], frame, 'RANK', '-1', 'MAXLEN', '1') then return end
  redis.call('RPUSH', KEYS[5], frame)
  undo('RPOP', KEYS[5])
  redis.call('PEXPIRE', KEYS[5], ttl)
  weigh(KEYS[5], #frame)
  if status then note_end(status, ARGV[15], tail) end
  if not channel then return end
  if #frame > 8192 then frame = '"' .. id .. '"' end
  -- May be forbidden to this user; the key is authoritative.
  redis.pcall('SPUBLISH', channel, '[' .. frame .. ']')
end

-- Adds this caller to the record as a waiter, or only marks that the job has to run.
local function join()
  if ttl == 0 then
    redis.call('HSET', record, 'keep', '1')
  else
    local kept = status and ' ' .. ARGV[15] or ''
    redis.call('HSET', record, 'w:' .. id, ARGV[7] .. ' ' .. (channel or '-') .. kept)
    undo('HDEL', record, 'w:' .. id)
  end
  -- Long enough for a scheduled call; never shorter than for another caller.
  local kept = tonumber(ARGV[10]) + math.max(0, due - now)
  if redis.call('PTTL', record) < kept then
    redis.call('PEXPIRE', record, string.format('%.0f', kept))
  end
end

-- The latest deadline of all callers holds; the worker that runs the job is notified.
local function extend(running, old)
  if old == '0' or (deadline ~= '0' and tonumber(deadline) <= tonumber(old)) then return end
  redis.call('HSET', record, 'deadline', deadline)
  redis.pcall('SPUBLISH', KEYS[6], 'extend ' .. running .. ' ' .. deadline)
end

return whole(function()
  if record then
    local known = redis.call('HMGET', record, 'digest', 'id', 'deadline', 'tail')
    local digest, running, old, tail = known[1], known[2], known[3], known[4]
    if running == id then return { 'queued', id } end
    if running and not tail then
      -- A cancelled call cannot be joined, even if no worker has seen the cancellation yet.
      local forgotten = redis.call('ZSCORE', KEYS[7], running)
      if forgotten and tonumber(forgotten) > now then
        end_cancelled(record, running, id)
        noted = 0
        running = false
      end
    end
    if running then
      if digest ~= ARGV[8] then return { 'conflict', running } end
      if tail then
        if ttl > 0 and redis.call('EXISTS', KEYS[11]) == 1 then
          return { 'answers_full', id }
        end
        if ttl > 0 then replay(tail) end
        return { 'replayed', running }
      end
      if ttl > 0 and redis.call('HEXISTS', record, 'w:' .. id) == 0 then
        local waiters = redis.call('HLEN', record) - 3 - redis.call('HEXISTS', record, 'keep')
        if waiters >= 100 then return { 'too_many_waiters', running } end
        -- It stays pending until that call ends. A fire-and-forget call returns the id of the call
        -- that it joined.
        note_pending()
      end
      join()
      mark()
      extend(running, old)
      return { 'deduplicated', running }
    end
  elseif pending ~= '' and redis.call('LLEN', KEYS[5]) > 0 then
    return { 'queued', id } -- by a call whose reply was lost
  end

  local later = due > now
  if later and redis.call('HEXISTS', KEYS[4], id) == 1 then return { 'queued', id } end
  -- A scheduled request leaves time for a worker to start. A worker whose lease has ended does not
  -- count: it is dead or disconnected.
  if not later and ARGV[2] == '1'
    and redis.call('ZCOUNT', KEYS[2], now, string.format('%.0f', now + 7200000)) == 0
  then
    return { 'no_workers', id }
  end
  local left, marked = room(cap, KEYS[1], KEYS[3], KEYS[8], KEYS[9], KEYS[10], KEYS[11])
  if left <= 0 then return { 'full', id } end
  if marked and ttl > 0 then return { 'answers_full', id } end

  if record then
    redis.call('HSET', record, 'digest', ARGV[8], 'id', id, 'deadline', deadline)
    undo('DEL', record)
    join()
  end
  mark()
  note_pending()
  if later then
    redis.call('HSET', KEYS[4], id, envelope)
    undo('HDEL', KEYS[4], id)
    redis.call('ZADD', KEYS[3], ARGV[5], id)
    undo('ZREM', KEYS[3], id)
    if redis.call('ZRANGE', KEYS[3], 0, 0)[1] == id then
      redis.pcall('SPUBLISH', KEYS[6], 'due ' .. ARGV[5])
    end
  else
    redis.call('RPUSH', KEYS[1], envelope)
  end
  return { 'queued', id }
end)
