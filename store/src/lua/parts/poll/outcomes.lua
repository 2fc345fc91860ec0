-- Purpose: settle the outcomes of a poll, each on its own; part of poll.lua. An outcome is stored
--   first and its lease removed last. One that fails changes nothing and keeps its lease: a later
--   poll settles it again, and the others are not delayed.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: nothing.
-- Derived keys: those of poll.lua.
-- Cost: O(outcomes).

local parked_count, limit_count = tonumber(ARGV[10]), tonumber(ARGV[11])
local outcome_count = tonumber(ARGV[12])

-- Most polls have none of these.
local paused, has_history, has_cancelled = false, false, false
local has_permits, has_limited = false, false
if redis.call('EXISTS', KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]) > 0 then
  paused = redis.call('EXISTS', KEYS[10]) == 1
  has_history = redis.call('EXISTS', KEYS[11]) == 1
  has_cancelled = redis.call('EXISTS', KEYS[12]) == 1
  has_permits = redis.call('EXISTS', KEYS[13]) == 1
  has_limited = redis.call('EXISTS', KEYS[14]) == 1
end

local ended, freed = {}, {}
local LOST = 'the lease is gone'

-- The ops after which the request runs again.
local RUNS_AGAIN = { back = true, rerun = true, retry = true, stale = true }

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
  redis.call('HSET', KEYS[18], id, raw)
  undo('HDEL', KEYS[18], id)
  redis.call('ZADD', KEYS[17], due, id)
  undo('ZREM', KEYS[17], id)
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

-- Returns the op of an outcome, and the range of its extras: most have none, and no cost.
local function op_of(at)
  local op, first = ARGV[at], at + 11
  local plus = string.find(op, '+', 1, true)
  if not plus then return op, first, first - 1 end
  return string.sub(op, 1, plus - 1), first, first - 1 + 4 * tonumber(string.sub(op, plus + 1))
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

local function free(id, permit)
  if not permit then return end
  local name = give_back(base, KEYS[13], id, permit)
  if name then freed[name] = true end
end

local function settle(at, op, first, last)
  local id = ARGV[at + 1]
  if (op == 'answer' or op == 'done') and first > last and ARGV[at + 9] == '0' then
    -- The common case: of the steps below, those that apply to it, without their checks.
    if has_permits then free(id, redis.call('HGET', KEYS[13], id)) end
    local key = KEYS[tonumber(ARGV[at + 2])]
    if key then push(key, ARGV[at + 3], ARGV[at + 4], KEYS[tonumber(ARGV[at + 5])], id) end
    if redis.call('HDEL', KEYS[3], id) == 0 then error(LOST, 0) end -- the fence
    return '1'
  end
  local changes_state, stale = false, false
  if first < last then changes_state, stale = check_state(first, last) end
  if stale then op = 'stale' end
  -- Most answers do not need their request.
  local needs_raw = changes_state or (op ~= 'answer' and op ~= 'done')
  local raw = needs_raw and redis.call('HGET', KEYS[3], id)
  if needs_raw and not raw then error(LOST, 0) end
  if needs_raw or ARGV[at + 9] ~= '0' then
    need('HSET', KEYS[3])
    need('HDEL', KEYS[3])
  end
  local permit = has_permits and redis.call('HGET', KEYS[13], id)
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

-- Returns the numbers of the outcomes whose leases this worker lost, by the live ids. If those
-- cannot be read, or name another worker, the leases decide.
local function find_lost(at)
  local ids = {}
  for i = 1, outcome_count do
    local op, id, last = ARGV[at], ARGV[at + 1], at + 10
    -- As in `settle_all`: no call for the common ops.
    if op ~= 'answer' and op ~= 'done' then op, at, last = op_of(at) end
    ids[i], at = id, last + 1
  end
  local own, lost = holder(worker), {}
  for first = 1, outcome_count, 1000 do
    local last = math.min(first + 999, outcome_count)
    local holders = redis.pcall('HMGET', KEYS[4], unpack(ids, first, last))
    for i = first, last do
      if holders[i - first + 1] ~= own and redis.call('HEXISTS', KEYS[3], ids[i]) == 0 then
        lost[i] = true
      end
    end
  end
  return lost
end

-- Removes the other keys of ended requests. Their leases have ended: no step may fail.
-- Heartbeats remove live ids without a lease.
local function tidy_up()
  for i = 1, #ended, 500 do
    local last = math.min(i + 499, #ended)
    redis.pcall('HDEL', KEYS[4], unpack(ended, i, last))
    if has_history then redis.pcall('HDEL', KEYS[11], unpack(ended, i, last)) end
    if has_cancelled then redis.pcall('ZREM', KEYS[12], unpack(ended, i, last)) end
  end
end

local function settle_all()
  local codes, at = {}, 13 + 2 * parked_count + 6 * limit_count
  local lost = find_lost(at)
  for i = 1, outcome_count do
    local op, first, last = ARGV[at], at + 11, at + 10
    if op ~= 'answer' and op ~= 'done' then op, first, last = op_of(at) end
    local id, before = ARGV[at + 1], outbox_size
    local ok, result = false, LOST
    if not lost[i] then ok, result = attempt(settle, at, op, first, last) end
    noted = 0
    if ok then
      codes[i] = result
      if result == '1' and not RUNS_AGAIN[op] then
        if op ~= 'defer' then ended[#ended + 1] = id end
        if first < last then
          if op ~= 'defer' then attempt(end_status, first, last) end
          end_start(first, last)
        end
      elseif result == 'T' then
        -- The record, status and call of this id belong to another request.
        codes[i] = '1'
        redis.pcall('HDEL', KEYS[4], id)
      end
      if op == 'defer' and has_cancelled and redis.call('ZSCORE', KEYS[12], id) then
        -- The request was cancelled, which its worker does not know.
        before = outbox_size
        if not attempt(end_deferred, base, id, read_deferred(base, id), 'gone', 'cancelled') then
          outbox_size = before
        end
      end
      noted = 0
    else
      outbox_size = before
      codes[i] = result == LOST and '0' or 'E'
      if result ~= LOST then notes[2] = text_of(result) end
    end
    at = last + 1
  end
  tidy_up()
  announce()
  local results = table.concat(codes)
  if outcome_count > 0 then
    redis.pcall('SET', KEYS[9], ARGV[7] .. ' ' .. results, 'PX', '60000')
  end
  return results
end
