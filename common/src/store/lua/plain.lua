-- Purpose: a turn as that of cycle.lua, where nothing is paused, cancelled, limited, parked or was
--   run before: most turns are so, and half of what such a one would cost is asking.
-- KEYS: 1 queue list, 2 inbox list, 3 leases (hash), 4 live (hash), 5 dead (stream), 6 workers
--   (zset), 7 turn of this worker (string); what must not be there: 8 paused (string), 9 history
--   (hash), 10 cancelled (zset), 11 slots (hash), 12 limited names (hash), 13 parked names (set)
-- ARGV: 1 to 9 as in turn.lua, but 2 is -1 if nothing is leased, not even what lies in the inbox,
--   and -2 if the length of the queue is not asked for either; 10 count S of outcomes; S ids; then
--   runs of outcomes in the order of the ids: ttl (ms; 0: nobody asked), channel (empty: none),
--   count C, and C frames if somebody asked
-- Returns: {results, length, {id, raw, ...}, notes, read} as cycle.lua; or 0, and nothing was
--   settled or leased: it takes cycle.lua
-- Derived keys: response:<id> of the outcomes, and of a request that is too large.
-- Cost: O(outcomes + taken), and that of reading elements as in cycle.lua.
local count, first_id = tonumber(ARGV[10]), 11
if take >= 0 then
  local alive = redis.call('ZSCORE', KEYS[6], worker)
  if not alive or tonumber(alive) <= now_ms() then
    -- Its worker may stand still behind a blocked pop, and not come to call cycle.lua.
    while redis.call('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT') do end
    return 0
  end
end
if redis.call('EXISTS', unpack(KEYS, 8, 13)) > 0 then return 0 end

-- Settling ------------------------------------------------------------------------------------

-- Removes the ids of all outcomes from a hash.
local function remove_ids(call, key)
  for first = first_id, first_id + count - 1, 1000 do
    call('HDEL', key, unpack(ARGV, first, math.min(first + 999, first_id + count - 1)))
  end
end

local function push_answers()
  local at, from = first_id + count, 0
  while from < count do
    local ttl, channel, upto = ARGV[at], ARGV[at + 1], from + tonumber(ARGV[at + 2])
    if channel == '' then channel = nil end
    at = at + 3
    if ttl ~= '0' then
      for i = from + 1, upto do
        local id = ARGV[first_id - 1 + i]
        push(base .. ':response:' .. id, ARGV[at], ttl, channel, id)
        at = at + 1
      end
    end
    from = upto
  end
end

-- Whether each outcome is of another lease that this worker has: the live ids tell whose they are.
local function owns_all()
  local own, known = holder(worker), {}
  for first = first_id, first_id + count - 1, 1000 do
    local last = math.min(first + 999, first_id + count - 1)
    local holders = redis.call('HMGET', KEYS[4], unpack(ARGV, first, last))
    for i = 1, #holders do
      local id = ARGV[first + i - 1]
      if holders[i] ~= own or known[id] then return false end
      known[id] = true
    end
  end
  return true
end

-- The fence first, then the answers, then the leases. Nothing behind these can fail, since the
-- requests of the leases are gone with them.
local function settle()
  if not owns_all() then error('a lease is gone', 0) end
  push_answers()
  remove_ids(redis.call, KEYS[3])
  noted = 0
  remove_ids(redis.pcall, KEYS[4])
  announce()
  local results = string.rep('1', count)
  redis.pcall('SET', KEYS[7], ARGV[7] .. ' ' .. results, 'PX', '60000')
  return results
end

local results = ''
if count > 0 then
  results = said_before(KEYS[7])
  if not results then
    local ok
    ok, results = attempt(settle)
    if not ok then return 0 end
  end
end

-- Leasing -------------------------------------------------------------------------------------

local leased, size, done, own = {}, 0, 0, holder(worker)

function after_step(ok)
  if ok then
    seen, done = seen + (size - done) / 2, size
  else
    size = done
  end
end

-- Leases elements that were popped in this step; how many it took off their list.
local function lease(key, raws)
  local many, first = #raws, size + 1
  undo(function()
    for at = first, size, 2 do redis.pcall('HDEL', KEYS[4], leased[at]) end
  end)
  for i = 1, many do
    if scanned > MOST_SCANNED then
      put_back(key, raws, i)
      many = i - 1
      break
    end
    local raw = raws[i]
    local id = #raw <= max_request and id_of(raw)
    if not id then
      refuse_unreadable(KEYS[1], raw, KEYS[4])
    elseif redis.call('HSETNX', KEYS[4], id, own) == 0 then
      refuse(KEYS[1], raw, id, 'invalid_request', LIVE_ID)
    else
      leased[size + 1], leased[size + 2] = id, raw
      size = size + 2
    end
  end
  if size > done then redis.call('HSET', KEYS[3], unpack(leased, done + 1, size)) end
  return many
end

local length
if take == -2 then
  length = -1
elseif take >= 0 then
  local more = take_inbox(KEYS[2], lease)
  if take > seen then length = take_list(KEYS[1], take, lease) end
  -- Of a step that was taken back.
  for i = #leased, size + 1, -1 do leased[i] = nil end
  if notes[1] ~= '' then length = nil end
  -- What is left in the inbox is taken by the next turn, which goes out where there is something.
  if more then length = math.max(length or ask('LLEN', KEYS[1]) or 0, 1) end
end
return { results, length or ask('LLEN', KEYS[1]) or 0, leased, told_notes(), bytes }
