-- Purpose: settle outcomes other than answers and ends without one; part of poll.lua, in a function
--   of its own: a script creates each of its functions at every call, and most polls need none of
--   these.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: a table of functions.
-- Derived keys: those of poll.lua.
-- Cost: O(1) per outcome, and those of its parts.

-- Checks the rights to end a lease whose request was read, and to restore it. Once per poll.
local may_end = false

local function need_leases()
  if may_end then return end
  need('HSET', KEYS[3])
  need('HDEL', KEYS[3])
  may_end = true
end

local function hand_back(permit, raw)
  local name = to_head(base, KEYS[1], KEYS[14], permit, raw)
  if name then
    freed[name], has_limited = true, true
  end
end

-- Records the run of a request that will run again.
local function schedule_rerun(id, raw, op, note, run, permit)
  local record = recall(KEYS[11], id)
  has_history = true -- this very poll may lease it
  if op == 'rerun' then
    record.attempt = tonumber(note)
    if run ~= '' then
      record.crashes = record.crashes + 1
      add_run(record, cjson.decode(run))
    end
    remember(KEYS[11], id, record)
    return hand_back(permit, raw)
  end
  run = cjson.decode(run)
  record.attempt = run.attempt
  record.fails, record.pause = record.fails + 1, tonumber(note)
  add_run(record, run)
  remember(KEYS[11], id, record)
  if has_cancelled and redis.call('ZSCORE', KEYS[12], id) then
    -- Its worker does not know: skip the delay of an attempt that will not start.
    redis.call('LPUSH', KEYS[1], raw)
    return undo('LPOP', KEYS[1])
  end
  local due = string.format('%.0f', now_ms() + tonumber(note))
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
  if redis.call('ZRANGE', KEYS[17], 0, 0)[1] == id then
    redis.pcall('SPUBLISH', KEYS[16], 'due ' .. due)
  end
end

-- Returns the position of the extra of this kind, if the outcome has one: at most one of each.
local function extra_of(kind, first, last)
  for at = first, last, 4 do
    if ARGV[at] == kind then return at end
  end
end

-- Returns two flags: the outcome changes a service's state; Redis has another version of it.
local function check_state(first, last)
  local at = extra_of('state', first, last)
  if not at then return false, false end
  local found = redis.call('HGET', KEYS[tonumber(ARGV[at + 1])], 'version')
  return true, (found or '0') ~= string.match(ARGV[at + 3], '^%d+')
end

-- Writes the state. The lease has ended, and is restored if this fails.
local function write_state(first, last)
  local at = extra_of('state', first, last)
  local key, text = KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2]
  local version, ttl, seal = string.match(ARGV[at + 3], '^(%d+) (%d+) (.*)$')
  if text == '' then return redis.call('DEL', key) end
  local before = redis.call('HMGET', key, 'state', 'seal')
  local fields = { 'state', text, 'version', string.format('%.0f', version + 1) }
  if seal ~= '' then fields[5], fields[6] = 'seal', seal end
  redis.call('HSET', key, unpack(fields))
  if before[1] then
    undo('HSET', key, 'state', before[1])
    undo('HSET', key, 'version', version)
  else
    undo('DEL', key)
  end
  if before[2] then
    if seal == '' then redis.call('HDEL', key, 'seal') end
    undo('HSET', key, 'seal', before[2])
  elseif seal ~= '' then
    undo('HDEL', key, 'seal')
  end
  return redis.call('PEXPIRE', key, ttl)
end

-- Writes the end of a tracked job. Called only once the request has ended and is not parked.
local function end_status(first, last)
  local at = extra_of('status', first, last)
  if not at then return end
  local key = KEYS[tonumber(ARGV[at + 1])]
  note_status(key, ARGV[at + 3], string.match(ARGV[at + 2], '^(%a+)(.*)$'))
end

-- A signed request that has ended must not run again, whatever happens later.
local function end_start(first, last)
  local at = extra_of('seen', first, last)
  if not at then return end
  redis.pcall('SET', KEYS[tonumber(ARGV[at + 1])], 'ended', 'XX', 'PXAT', ARGV[at + 3])
end

local function history_of(id, run)
  local record = has_history and recall(KEYS[11], id) or {}
  if run ~= '' then add_run(record, cjson.decode(run)) end
  return record.runs and cjson.encode(record.runs)
end

-- Defers a request: its id stays live, so that requests with the same id are refused.
local function defer(id, raw, at)
  local call, within = KEYS[tonumber(ARGV[at + 9])], tonumber(ARGV[at + 6])
  keep_deferred(base, id, KEYS[tonumber(ARGV[at + 7])], within, {
    'raw', raw, 'worker', worker, 'dead_max', dead.max, 'dead_age', dead.age,
    'idem', call or '', 'keep', ARGV[at + 10], unpack(cjson.decode(ARGV[at + 8])),
  })
  redis.call('HSET', KEYS[4], id, holder(DEFERRED))
  undo('HSET', KEYS[4], id, holder(worker))
end

-- Parks the request if a live worker handles its name.
local function park(raw, name, list)
  local until_ms = redis.call('ZSCORE', KEYS[6], name)
  if not until_ms or tonumber(until_ms) <= now_ms() then return false end
  redis.call('RPUSH', list, raw)
  undo('RPOP', list)
  redis.call('SADD', KEYS[7], name)
  return true
end

-- Stores a request whose lease ends with this outcome. Returns the result.
local function store(at, op, raw, permit)
  local id, key, note, run = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], ARGV[at + 6], ARGV[at + 8]
  if op == 'stale' then
    -- Its handler has run: the next start is another run.
    schedule_rerun(id, raw, 'rerun', recall(KEYS[11], id).attempt + 1, '', permit)
    return '0'
  elseif op == 'back' then
    hand_back(permit, raw)
    return '1'
  elseif op == 'unknown' then
    if park(raw, note, KEYS[tonumber(ARGV[at + 7])]) then return 'P' end
    if not key then
      local reason = 'no live worker handles `' .. note .. '`'
      dead_letter(raw, id, 'unknown_job', reason, history_of(id, run))
    end
  elseif op == 'refuse' or op == 'reject' then
    local twin = is_taken(id)
    if twin or not key or op == 'reject' then
      dead_letter(raw, id, note, ARGV[at + 7], not twin and history_of(id, run) or nil)
    end
    if twin then return 'T' end
  elseif op == 'defer' then
    defer(id, raw, at)
  elseif op == 'rerun' or op == 'retry' then
    schedule_rerun(id, raw, op, note, run, permit)
  elseif op == 'dead_letter' then
    dead_letter(raw, id, note, ARGV[at + 7], history_of(id, run))
  end
  local record = KEYS[tonumber(ARGV[at + 9])]
  if record and op ~= 'defer' then end_call(base, record, id, ARGV[at + 3], ARGV[at + 10]) end
  if key then push(key, ARGV[at + 3], ARGV[at + 4], KEYS[tonumber(ARGV[at + 5])], id) end
  return '1'
end

local function settle(at, op, first, last)
  local id = ARGV[at + 1]
  local changes_state, stale = false, false
  if first < last then changes_state, stale = check_state(first, last) end
  if stale then op = 'stale' end
  -- Most answers do not need their request.
  local needs_raw = changes_state or (op ~= 'answer' and op ~= 'done')
  local raw = needs_raw and redis.call('HGET', KEYS[3], id)
  if needs_raw and not raw then error(LOST, 0) end
  if needs_raw or ARGV[at + 9] ~= '0' then
    need_leases()
  end
  local permit = has_permits and permit_of(id)
  free(id, permit)
  local result = store(at, op, raw, permit)
  if RUNS_AGAIN[op] or result == 'P' then
    -- A remaining live id would refuse the request.
    redis.call('HDEL', KEYS[4], id)
    undo('HSET', KEYS[4], id, holder(worker))
  end
  if redis.call('HDEL', KEYS[3], id) == 0 then error(LOST, 0) end -- the fence
  if raw then undo('HSET', KEYS[3], id, raw) end
  if changes_state and not stale then write_state(first, last) end
  return result
end

-- Writes what outcomes change after their end.
local function finish(op, first, last)
  if op ~= 'defer' then attempt(end_status, first, last) end
  end_start(first, last)
end

-- Ends a request that was deferred just now, if it was cancelled, which its worker does not know.
local function end_cancelled_deferred(id)
  if not (has_cancelled and redis.call('ZSCORE', KEYS[12], id)) then return end
  local before = outbox_size
  if not attempt(end_deferred, base, id, read_deferred(base, id), 'gone', 'cancelled') then
    outbox_size = before
  end
end

return { settle = settle, finish = finish, end_cancelled_deferred = end_cancelled_deferred }
