-- Purpose: a turn as that of cycle.lua, where nothing is paused, cancelled, limited, parked or was
--   run before: most turns are so, and half of what such a one would cost is asking.
-- KEYS: 1 queue list, 2 inbox list, 3 leases (hash), 4 live (hash), 5 dead (stream), 6 workers
--   (zset), 7 turn of this worker (string); what must not be there: 8 paused (string), 9 history
--   (hash), 10 cancelled (zset), 11 slots (hash), 12 limited names (hash), 13 parked names (set)
-- ARGV: 1 to 8 as in turn.lua, but 2 is -1 if nothing is leased, not even what lies in the inbox;
--   9 count S of outcomes; S ids; then runs of outcomes in the order of the ids: ttl (ms; 0: nobody
--   asked), channel (empty: none), count C, and C frames if somebody asked
-- Returns: {results, length, {id, raw, ...}} as cycle.lua; or 0, and nothing was settled or leased:
--   it takes cycle.lua
-- Derived keys: response:<id> of the outcomes.
-- Cost: O(outcomes + taken).
local count = tonumber(ARGV[9])
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

-- Counts what a command says of the ids from the first to the last of them.
local function of_ids(command, key)
  local sum = 0
  for first = 10, 9 + count, 1000 do
    local last = math.min(first + 999, 9 + count)
    sum = sum + redis.call(command, key, unpack(ARGV, first, last))
  end
  return sum
end

-- Which outcomes are of leases that this worker had; each lease is ended once.
local function fence()
  local owned = {}
  for i = 1, count do
    local id = ARGV[9 + i]
    owned[i] = worker_of(redis.call('HGET', KEYS[4], id)) == worker
    if owned[i] then redis.call('HDEL', KEYS[4], id) end
  end
  return owned
end

local function settle()
  -- The fence, in one command: as many leases as outcomes. Who lacks one is told by the live ids:
  -- each is of the worker that holds its lease.
  local owned = of_ids('HDEL', KEYS[3]) < count and fence()
  if not owned then of_ids('HDEL', KEYS[4]) end
  local at, from = 10 + count, 0
  while from < count do
    local ttl, channel, upto = ARGV[at], ARGV[at + 1], from + tonumber(ARGV[at + 2])
    if channel == '' then channel = nil end
    at = at + 3
    if ttl ~= '0' then
      for i = from + 1, upto do
        if not owned or owned[i] then
          local id = ARGV[9 + i]
          push(base .. ':response:' .. id, ARGV[at], ttl, channel, id)
        end
        at = at + 1
      end
    end
    from = upto
  end
  announce()
  local results = owned or string.rep('1', count)
  if owned then
    for i = 1, count do owned[i] = owned[i] and '1' or '0' end
    results = table.concat(owned)
  end
  redis.call('SET', KEYS[7], ARGV[7] .. ' ' .. results, 'PX', '60000')
  return results
end

local results = ''
if count > 0 then results = said_before(KEYS[7]) or settle() end

-- Leasing -------------------------------------------------------------------------------------

local leased, size = {}, 0

-- Leases the first `last` of `raws`.
local function lease(raws, last)
  local before, own = size, holder(worker)
  for i = 1, last do
    local raw = raws[i]
    local id = id_of(raw)
    if not id then
      bury(raw, '', 'invalid_request', 'not a JSON object with an `id` of 1 to 64 of [A-Za-z0-9_-]')
    elseif redis.call('HSETNX', KEYS[4], id, own) == 0 then
      bury(raw, id, 'invalid_request', 'a live request of this queue has the same id')
    else
      leased[size + 1], leased[size + 2] = id, raw
      size = size + 2
    end
  end
  if size > before then redis.call('HSET', KEYS[3], unpack(leased, before + 1, size)) end
end

local length
local seen, bytes, portion = 0, 0, 16
if take >= 0 then
  -- What a blocked pop has moved is this worker's already, room or not.
  repeat
    local raws = redis.call('LPOP', KEYS[2], '16') or {}
    if #raws > 0 then lease(raws, #raws) end
    seen = seen + #raws
    for i = 1, #raws do bytes = bytes + #raws[i] end
  until #raws < 16
end
-- In portions that grow with what the bytes so far allow. What would go over the limit goes back,
-- unless it is all that there is.
while seen < take do
  local asked = math.min(portion, take - seen)
  local raws = redis.call('LPOP', KEYS[1], asked) or {}
  local last = #raws
  if last < asked then length = 0 end
  for i = 1, last do
    if bytes > 0 and bytes + #raws[i] > max_bytes then
      for j = last, i, -1 do redis.call('LPUSH', KEYS[1], raws[j]) end
      last, length = i - 1, nil
      break
    end
    bytes = bytes + #raws[i]
  end
  if last > 0 then lease(raws, last) end
  if last < asked then break end
  seen = seen + last
  portion = math.max(1, math.min(250, 4 * portion, math.floor((max_bytes - bytes) * seen / bytes)))
end
return { results, length or redis.call('LLEN', KEYS[1]), leased }
