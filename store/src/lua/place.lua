-- Purpose: place one request that is more than a plain push: not due yet, fetched later, or under
--   an idempotency key (then it may join the call that runs already, or get the end of that call).
-- KEYS: 1 queue list, 2 workers (zset), 3 schedule (zset), 4 scheduled (hash), 5 own response key,
--   6 control channel, 7 cancelled (zset), 8 limited names (hash), 9 parked names
--   (set), 10 deferred (zset), 11 mark that the answers kept are at their bound (string);
--   then, by the indices in ARGV: record of the idempotency key (hash), the caller's
--   channel, the job's states (list, and channel)
-- ARGV: 1 longest length of queue and schedule (0: no cap), 2 '1' if somebody waits now, so that a
--   worker must listen, else '0', 3 id, 4 envelope, 5 when it is due (Redis ms, 0: now), 6 pending
--   frame for the response key ('': none), 7 TTL of the answer (ms, 0: nobody wants one), 8 digest
--   of the data, 9 deadline (Redis ms, 0: none), 10 TTL of the record while the call runs (ms),
--   11 key index of the record (0: none), 12 key index of the channel (0: none), 13 key index of
--   the states (0: none are kept), 14 their TTL until it starts (ms), 15 once it has ended (ms)
-- Returns: {what, id of the request that runs, or ran}. what: 'queued' (also if it was before, by
--   a call whose reply was lost), 'deduplicated' (to the one that runs), 'replayed' (its end was pushed
--   to the own response key), 'conflict' (the same key with other data), 'too_many_waiters' (100 wait for
--   that one already), 'no_workers', 'full', 'answers_full' (it wants an
--   answer, and those kept are at their bound). The last five have placed nothing.
-- Derived keys: response:<id> and status:<id> of callers that joined a cancelled call;
--   parked:<name> of the parked names; answers of the queue.
-- Cost: O(log schedule); O(1) if it is due; O(waiters) more where a cancelled call is begun anew.
local cap, id, envelope, due = tonumber(ARGV[1]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local pending, ttl, deadline = ARGV[6], tonumber(ARGV[7]), ARGV[9]
local record, channel = KEYS[tonumber(ARGV[11])], KEYS[tonumber(ARGV[12])]
local status = KEYS[tonumber(ARGV[13])]
local now = now_ms()

-- The first state, with what it is the state of; a call whose reply was lost does not come so far.
local function note_pending()
  noted_at = now
  if status then note_status(status, ARGV[14], 'Pending', ',"attempt":0') end
end

-- So that a fetch can tell a queued request from an unknown one. Never a second time.
local function mark()
  if pending == '' or redis.call('LLEN', KEYS[5]) > 0 then return end
  redis.call('RPUSH', KEYS[5], pending)
  undo('RPOP', KEYS[5])
  redis.call('PEXPIRE', KEYS[5], ttl)
end

-- The end that is kept, as a frame of this caller.
local function replay(tail)
  local frame = '{"id":"' .. id .. '","response_key":"' .. KEYS[5] .. '"' .. tail
  if redis.call('LINDEX', KEYS[5], -1) == frame then return end -- by a call whose reply was lost
  redis.call('RPUSH', KEYS[5], frame)
  undo('RPOP', KEYS[5])
  redis.call('PEXPIRE', KEYS[5], ttl)
  weigh(KEYS[5], #frame)
  if status then note_end(status, ARGV[15], tail) end
  if not channel then return end
  if #frame > 8192 then frame = '"' .. id .. '"' end
  -- May be forbidden to this user; the key is the truth.
  redis.pcall('SPUBLISH', channel, '[' .. frame .. ']')
end

-- Notes in the record that this caller wants the end, too, or at least that the job runs.
local function join()
  if ttl == 0 then
    redis.call('HSET', record, 'keep', '1')
  else
    local kept = status and ' ' .. ARGV[15] or ''
    redis.call('HSET', record, 'w:' .. id, ARGV[7] .. ' ' .. (channel or '-') .. kept)
    undo('HDEL', record, 'w:' .. id)
  end
  -- Long enough for what is not due yet; never shorter than for another caller.
  local kept = tonumber(ARGV[10]) + math.max(0, due - now)
  if redis.call('PTTL', record) < kept then
    redis.call('PEXPIRE', record, string.format('%.0f', kept))
  end
end

-- The latest deadline of all callers holds; whoever runs the job is told.
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
      -- What was cancelled is no call to join, even if no worker has come across it yet.
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
        -- It stays so until that call ends. One that is let go has the id of the one it has joined.
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
  -- Until it is due there is time for a worker to come. One whose lease has ended is not counted:
  -- it is dead or cut off.
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
