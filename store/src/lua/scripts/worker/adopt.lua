-- Purpose: empty a lane inbox: settle the requests that have ended, give those that were started a
--   real lease, and return all others to the head of the queue, where poll.lua takes them. Also
--   after a lost reply: requests are found by their ids, whatever else is in the inbox.
-- KEYS: 1 queue list, 2 lane inbox (list), 3 leases (hash), 4 live (hash), 5 dead (stream), 6 poll
--   record of the inbox (string), 7 attempts (hash), 8 cancelled (zset), 9 workers (zset)
-- ARGV: 1 to 9 as in poll_common.lua, but 2 is '1' if the last element may be over the limit, 3 is
--   not used, and 7 is what the reply answers (number of the inbox and serial, each with a space
--   after it); 10 count S of outcomes, 11 count T of started requests; then S times: id, frame
--   (empty: none), ttl (ms), channel (empty: none); T ids
-- Returns: {answers, {id, raw, mark, ...}, back, left, notes}. answers: ARGV 7 and the results of
--   all outcomes, one character each: '1' settled, '0' it is not in the inbox, 'E' it failed: its
--   request is leased. Then the leased requests, with marks as in poll.lua. back: how many went to
--   the queue. left: number of elements that another call has to move, since one moves 256. notes:
--   as in poll.lua.
-- Derived keys: response:<id> of the outcomes; answers of the queue; those of refusal.lua.
-- Cost: O(elements), and that of reading them.
local ended_count, started_count = tonumber(ARGV[10]), tonumber(ARGV[11])
local known
if ARGV[8] == '1' then
  local record = redis.call('GET', KEYS[6]) or ''
  if string.sub(record, 1, #ARGV[7]) == ARGV[7] then known = string.sub(record, #ARGV[7] + 1) end
end

-- Of each id, the positions of its outcomes, and how often it was started.
local ended, started, codes = {}, {}, {}
for i = 1, ended_count do
  local id = ARGV[8 + 4 * i]
  ended[id], codes[i] = ended[id] or {}, '0'
  if not known then table.insert(ended[id], i) end
end
for i = 1, started_count do
  local id = ARGV[11 + 4 * ended_count + i]
  started[id] = (started[id] or 0) + 1
end

local taken, back, leases = {}, {}, {}

local function lease(raw)
  local id = make_live(KEYS[1], raw, KEYS[4], own)
  if not id then return end
  undo('HDEL', KEYS[4], id)
  redis.call('HSET', KEYS[3], id, raw)
  undo('HDEL', KEYS[3], id)
  taken[#taken + 1], taken[#taken + 2], taken[#taken + 3] = id, raw, ''
  leases[#leases + 1] = id
end

-- Settles an outcome. If that fails, it changes nothing, and its request gets a lease: then
-- poll.lua settles it.
local function settle(at, id, raw)
  local frame, ttl, channel = ARGV[9 + 4 * at], ARGV[10 + 4 * at], ARGV[11 + 4 * at]
  if channel == '' then channel = nil end
  local before = outbox_size
  local function store() push(base .. ':response:' .. id, frame, ttl, channel, id) end
  local ok, problem = true, nil
  if frame ~= '' then ok, problem = attempt(store) end
  if ok then
    codes[at] = '1'
  else
    outbox_size, codes[at], notes[2] = before, 'E', text_of(problem)
    lease(raw)
  end
end

local function move(raw)
  local id = #raw <= max_request and id_of(raw)
  local outcomes = id and ended[id]
  if outcomes and outcomes[1] then
    settle(table.remove(outcomes, 1), id, raw)
  elseif id and (started[id] or 0) > 0 then
    started[id] = started[id] - 1
    lease(raw)
  elseif #raw > max_request then
    refuse_unreadable(KEYS[1], raw, KEYS[4])
  else
    back[#back + 1] = raw
  end
end

-- Reads the marks of the leased requests.
local function mark()
  local records = redis.call('HMGET', KEYS[7], unpack(leases))
  local cancelled = redis.call('ZMSCORE', KEYS[8], unpack(leases))
  for i = 1, #leases do taken[3 * i] = cancelled[i] and 'C' or records[i] or '' end
end

return whole(function()
  -- Redis copies a reply for a script twice: without the element in the list, it needs three times
  -- its size.
  local last = ARGV[2] == '1' and redis.call('RPOP', KEYS[2])
  if last then
    undo('RPUSH', KEYS[2], last)
    move(last)
  end
  local left = redis.call('LLEN', KEYS[2])
  local raws = left > 0 and redis.call('LRANGE', KEYS[2], 0, 255) or {}
  for i = 1, #raws do move(raws[i]) end
  for i = #back, 1, -1 do
    redis.call('LPUSH', KEYS[1], back[i])
    undo('LPOP', KEYS[1])
  end
  if #leases > 0 then
    mark()
    -- If it is not registered, another worker has to find its leases.
    if redis.call('ZADD', KEYS[9], 'NX', string.format('%.0f', now_ms() - 1), worker) == 1 then
      undo('ZREM', KEYS[9], worker)
    end
  end
  -- The second command is for users without the right to the first.
  if #raws > 0 and redis.pcall('LTRIM', KEYS[2], #raws, -1).err then
    redis.call('LPOP', KEYS[2], #raws)
  end
  noted = 0
  announce()
  local results = known or table.concat(codes)
  if ended_count > 0 and not known then
    redis.pcall('SET', KEYS[6], ARGV[7] .. results, 'PX', '60000')
  end
  local has_notes = #notes > 2 or notes[1] ~= '' or notes[2] ~= ''
  return { ARGV[7] .. results, taken, #back, left - #raws, has_notes and notes }
end)
