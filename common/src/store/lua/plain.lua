-- Purpose: a turn as that of cycle.lua, where nothing is paused, cancelled, limited, parked or was
--   run before: most turns are so, and half of what such a one would cost is asking.
-- KEYS: 1 queue list, 2 inbox list, 3 leases (hash), 4 live (hash), 5 dead (stream), 6 workers
--   (zset), 7 turn of this worker (string); what must not be there: 8 paused (string), 9 history
--   (hash), 10 cancelled (zset), 11 slots (hash), 12 limited names (hash), 13 parked names (set)
-- ARGV: 1 to 9 as in turn.lua, but 2 is -1 if nothing is leased, not even what lies in the inbox,
--   and -2 if the length of the queue is not asked for either; 10 count S of outcomes; S ids; then
--   runs of outcomes in the order of the ids: ttl (ms; 0: nobody asked), channel (empty: none),
--   count C, and C frames if somebody asked
-- Returns: {results, length, {id, raw, ...}, notes, read} as cycle.lua, length -1 if it was not asked for;
--   or 0, and nothing was settled or leased: it takes cycle.lua
-- Derived keys: response:<id> of the outcomes, and of a request that is too large.
-- Cost: O(outcomes + taken).
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

-- Removes the ids of all outcomes from a hash; how many were there.
local function remove_ids(call, key)
  local sum = 0
  for first = first_id, first_id + count - 1, 1000 do
    local last = math.min(first + 999, first_id + count - 1)
    local removed = call('HDEL', key, unpack(ARGV, first, last))
    sum = sum + (tonumber(removed) or 0)
  end
  return sum
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

-- Takes back the answers of the leases that this worker had no more: the live ids tell whose they
-- are. One character per outcome.
local function take_back_lost()
  local results, lost = {}, {}
  for i = 1, count do
    local id = ARGV[first_id - 1 + i]
    local has = redis.pcall('HGET', KEYS[4], id)
    -- Where that cannot be read, an answer too many is better than one that is missing.
    local own = type(has) == 'table' or worker_of(has) == worker
    results[i] = own and '1' or '0'
    if own then
      redis.pcall('HDEL', KEYS[4], id)
    else
      lost[id] = (lost[id] or 0) + 1
    end
  end
  -- The last one of an id first: an id may stand there twice, and be settled once.
  local untold = {}
  for id, times in pairs(lost) do untold[id] = times end
  for step = noted - 3, 1, -4 do
    local id = string.match(steps[step + 1], ':response:(.+)$')
    if id and (lost[id] or 0) > 0 then
      redis.pcall(steps[step], steps[step + 1])
      lost[id] = lost[id] - 1
    end
  end
  for at = telling - 2, 1, -3 do
    local id = told[at + 1]
    if (untold[id] or 0) > 0 then
      told[at], untold[id] = false, untold[id] - 1
    end
  end
  return table.concat(results)
end

-- Answers first, then the fence: as many leases as outcomes. Nothing behind it can fail, since the
-- requests of the leases that it ends are gone with them.
local function settle()
  push_answers()
  local results
  if remove_ids(redis.call, KEYS[3]) == count then
    results = string.rep('1', count)
    remove_ids(redis.pcall, KEYS[4])
  else
    results = take_back_lost()
  end
  noted = 0
  announce()
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
  local many = #raws
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
      undo('HDEL', KEYS[4], id)
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
return { results, length or ask('LLEN', KEYS[1]) or 0, leased, notes, bytes }
