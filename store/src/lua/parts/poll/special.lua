-- Purpose: settle outcomes other than answers and ends without one; part of poll.lua, in a function
--   of its own: a script creates each of its functions at every call, and most polls need none of
--   these.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: a table of functions.
-- Derived keys: those of poll.lua.
-- Cost: O(1) per outcome, and those of its parts.

-- True once the rights to end a lease whose request was read, and to restore it, were checked.
local may_end = false
-- True if the live id of a request that will run again can be removed with others, after all
-- outcomes: that must not fail, since a remaining live id would refuse the request.
local may_remove = live_read and redis.acl_check_cmd('HDEL', KEYS[4], 'field')
-- The requests whose live ids are still to be removed.
local again = { nil }
-- True once the TTL of records is set, and if the current outcome has set it.
local has_ttl, new_ttl = false, false
-- The request of this poll that is due first, and when (ms); when that of the current outcome is.
local due_id, due_at, new_due
local hand_back -- the function of returns.lua, created when first needed

-- Records the run of a request that will run again.
local function schedule_rerun(id, raw, op, note, run, permit)
  local record, before = recall(KEYS[11], id)
  has_history = true -- this very poll may lease it
  if op == 'rerun' then
    record.attempt = tonumber(note)
    if run ~= '' then
      record.crashes = record.crashes + 1
      add_run(record, cjson.decode(run))
    end
    remember(KEYS[11], id, record, before, has_ttl)
    new_ttl = true
    hand_back = hand_back or returns()
    return hand_back(permit, raw)
  end
  run = cjson.decode(run)
  record.attempt = run.attempt
  record.fails, record.pause = record.fails + 1, tonumber(note)
  add_run(record, run)
  remember(KEYS[11], id, record, before, has_ttl)
  new_ttl = true
  if has_cancelled and redis.call('ZSCORE', KEYS[12], id) then
    -- Its worker does not know: skip the delay of an attempt that will not start.
    redis.call('LPUSH', KEYS[1], raw)
    return undo('LPOP', KEYS[1])
  end
  new_due = now_ms() + tonumber(note)
  local due = string.format('%.0f', new_due)
  if redis.call('HSETNX', KEYS[18], id, raw) == 1 then
    undo('HDEL', KEYS[18], id)
    redis.call('ZADD', KEYS[17], due, id)
    undo('ZREM', KEYS[17], id)
  else
    -- A scheduled request with the same id, which an undo restores.
    local twin, twin_due = redis.call('HGET', KEYS[18], id), redis.call('ZSCORE', KEYS[17], id)
    redis.call('HSET', KEYS[18], id, raw)
    undo('HSET', KEYS[18], id, twin)
    redis.call('ZADD', KEYS[17], due, id)
    if twin_due then undo('ZADD', KEYS[17], twin_due, id) end
  end
end

-- Stores the dead letter of a request that will not run, if it gets one; or parks it, if a live
-- worker handles its name. Returns the result, if it differs from that of others.
local function refuse(at, op, id, key, raw)
  local note, reason = ARGV[at + 6], ARGV[at + 7]
  if op == 'unknown' then
    local until_ms = redis.call('ZSCORE', KEYS[6], note)
    if until_ms and tonumber(until_ms) > now_ms() then
      local list = KEYS[tonumber(reason)]
      redis.call('RPUSH', list, raw)
      undo('RPOP', list)
      redis.call('SADD', KEYS[7], note)
      has_parked = true
      return 'P'
    end
    if key then return nil end
    note, reason = 'unknown_job', 'no live worker handles `' .. note .. '`'
  elseif op ~= 'dead_letter' then
    rare = rare or unusual()
    if rare.is_taken(id) then
      dead_letter(raw, id, note, reason)
      return 'T'
    end
    if key and op == 'refuse' then return nil end
  end
  local record = has_history and recall(KEYS[11], id) or {}
  if ARGV[at + 8] ~= '' then add_run(record, cjson.decode(ARGV[at + 8])) end
  dead_letter(raw, id, note, reason, record.runs and cjson.encode(record.runs))
end

-- Stores a request whose lease ends with this outcome. Returns the result.
local function store(at, op, raw, permit)
  local id, key = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])]
  if op == 'stale' then
    -- Its handler has run: the next start is another run.
    schedule_rerun(id, raw, 'rerun', recall(KEYS[11], id).attempt + 1, '', permit)
    return '0'
  elseif op == 'back' then
    hand_back = hand_back or returns()
    hand_back(permit, raw)
    return '1'
  elseif op == 'rerun' or op == 'retry' then
    schedule_rerun(id, raw, op, ARGV[at + 6], ARGV[at + 8], permit)
  elseif op == 'defer' then
    settlements.defer(id, raw, at)
  elseif op ~= 'answer' and op ~= 'done' then
    local result = refuse(at, op, id, key, raw)
    if result then return result end
  end
  local record = KEYS[tonumber(ARGV[at + 9])]
  if record and op ~= 'defer' then
    settlements.end_call(base, record, id, ARGV[at + 3], ARGV[at + 10])
  end
  if key then push(key, ARGV[at + 3], ARGV[at + 4], KEYS[tonumber(ARGV[at + 5])], id) end
  return '1'
end

-- Returns the same as `settle` in outcomes.lua.
local function settle(at, op, first, last)
  local id = ARGV[at + 1]
  new_due, new_ttl = nil, has_ttl
  local changes_state, stale = false, false
  if not settlements and (first < last or op == 'defer' or ARGV[at + 9] ~= '0') then
    rare = rare or unusual()
    settlements = rare.create_settlements()
  end
  if first < last then changes_state, stale = settlements.check_state(first, last) end
  if stale then op = 'stale' end
  -- Most answers do not need their request.
  local needs_raw = changes_state or (op ~= 'answer' and op ~= 'done')
  local raw = needs_raw and redis.call('HGET', KEYS[3], id)
  if needs_raw and not raw then error(LOST, 0) end
  if not may_end and (needs_raw or ARGV[at + 9] ~= '0') then
    if not redis.acl_check_cmd('HSET', KEYS[3], 'field', 'value')
      or not redis.acl_check_cmd('HDEL', KEYS[3], 'field')
    then
      rare = rare or unusual()
      rare.need('HSET', KEYS[3])
      rare.need('HDEL', KEYS[3])
    end
    may_end = true
  end
  local result = store(at, op, raw, free and free(id))
  local goes_on = op == 'retry' or op == 'rerun' or op == 'back' or op == 'stale'
    or result == 'P'
  if goes_on and not may_remove then
    redis.call('HDEL', KEYS[4], id)
    undo('HSET', KEYS[4], id, own)
  end
  if redis.call('HDEL', KEYS[3], id) == 0 then error(LOST, 0) end -- the fence
  if raw then undo('HSET', KEYS[3], id, raw) end
  if changes_state and not stale then settlements.write_state(first, last) end
  has_ttl = new_ttl
  if goes_on and may_remove then again[#again + 1] = id end
  if new_due and (not due_at or new_due < due_at or new_due == due_at and id < due_id) then
    due_id, due_at = id, new_due
  end
  return result, goes_on
end

-- Ends what outcomes have left for the end of all.
local function finish_all()
  for i = 1, #again, 500 do
    redis.pcall('HDEL', KEYS[4], unpack(again, i, math.min(i + 499, #again)))
  end
  if not due_id then return end
  -- Notify the workers if the schedule begins with a request of this poll.
  local first = redis.pcall('ZRANGE', KEYS[17], '0', '0')
  if first[1] == due_id then
    redis.pcall('SPUBLISH', KEYS[16], string.format('due %.0f', due_at))
  end
end

return { settle = settle, finish_all = finish_all }
