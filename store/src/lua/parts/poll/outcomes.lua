-- Purpose: settle the outcomes of a poll, each on its own; part of poll.lua. An outcome is stored
--   first and its lease removed last. One that fails changes nothing and keeps its lease: a later
--   poll settles it again, and the others are not delayed.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: nothing.
-- Derived keys: those of poll.lua.
-- Cost: O(outcomes).

create_rare = unusual

-- Returns the op of an outcome, and the range of its extras: most have none, and no cost.
local function op_of(at)
  local op, first = ARGV[at], at + 11
  local plus = string.find(op, '+', 1, true)
  if not plus then return op, first, first - 1 end
  return string.sub(op, 1, plus - 1), first, first - 1 + 4 * tonumber(string.sub(op, plus + 1))
end

-- Returns the result; and true for a request that will run again.
local function settle(at, op, first, last)
  local id = ARGV[at + 1]
  if (op == 'answer' or op == 'done') and first > last and ARGV[at + 9] == '0' then
    -- The common case: of the steps of special.lua, those that apply to it, without their checks.
    if free then free(id) end
    local key = KEYS[tonumber(ARGV[at + 2])]
    if key then push(key, ARGV[at + 3], ARGV[at + 4], KEYS[tonumber(ARGV[at + 5])], id) end
    if redis.call('HDEL', KEYS[3], id) == 0 then error(LOST, 0) end -- the fence
    return '1'
  end
  special = special or special_outcomes()
  return special.settle(at, op, first, last)
end

-- Returns the numbers of the outcomes whose leases this worker lost, by the live ids. If those
-- cannot be read, or name another worker, the leases decide. Reads all permits as well.
local function find_lost(at, outcome_count)
  local ids, lost = {}, {}
  for i = 1, outcome_count do
    local op, id, last = ARGV[at], ARGV[at + 1], at + 10
    -- As in `settle_all`: no call for the common ops.
    if op ~= 'answer' and op ~= 'done' then op, at, last = op_of(at) end
    ids[i], at = id, last + 1
  end
  live_read, permits = true, {}
  for first = 1, outcome_count, 1000 do
    local last = math.min(first + 999, outcome_count)
    local holders = redis.pcall('HMGET', KEYS[4], unpack(ids, first, last))
    if holders.err then live_read = false end
    local some = has_permits and redis.pcall('HMGET', KEYS[13], unpack(ids, first, last))
    if some and some.err then
      -- Each outcome reads its own, and fails alone.
      permits = nil
    elseif some and permits then
      for i = first, last do permits[ids[i]] = some[i - first + 1] end
    end
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

-- Settles all outcomes, whose arguments begin at `at`.
local function settle_all(at, outcome_count)
  if has_permits then free = freeing() end
  local codes, lost = { nil }, nil
  -- A single outcome without a permit, a call or extras stores nothing before it has found its
  -- lease, or nothing that its undo leaves behind.
  if outcome_count > 1 or has_permits or ARGV[at + 9] ~= '0'
    or string.find(ARGV[at], '+', 1, true)
  then
    lost = find_lost(at, outcome_count)
  end
  for i = 1, outcome_count do
    local op, first, last = ARGV[at], at + 11, at + 10
    if op ~= 'answer' and op ~= 'done' then op, first, last = op_of(at) end
    local id, before = ARGV[at + 1], outbox_size
    local ok, result, goes_on = false, LOST, nil
    if not (lost and lost[i]) then
      ok, result, goes_on = pcall(settle, at, op, first, last)
      if not ok then
        rare = rare or unusual()
        rare.undo_from(0)
      end
    end
    noted = 0
    if ok then
      -- The same id again has no permit any more.
      if permits then permits[id] = nil end
      codes[i] = result
      if result == '1' and not goes_on then
        if op ~= 'defer' then ended[#ended + 1] = id end
        if first < last then settlements.finish(op, first, last) end
      elseif result == 'T' then
        -- The record, status and call of this id belong to another request.
        codes[i] = '1'
        redis.pcall('HDEL', KEYS[4], id)
      end
      if op == 'defer' then settlements.end_cancelled_deferred(id) end
      noted = 0
    else
      outbox_size = before
      codes[i] = result == LOST and '0' or 'E'
      if result ~= LOST then notes[2] = rare.text_of(result) end
    end
    at = last + 1
  end
  if ended[1] then tidy_up() end
  if special then special.finish_all() end
  if outbox_size > 0 then announce() end
  local results = outcome_count == 1 and codes[1] or table.concat(codes)
  redis.pcall('SET', KEYS[9], ARGV[7] .. ' ' .. results, 'PX', '60000')
  return results
end
