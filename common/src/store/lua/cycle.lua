-- Purpose: one worker's turn on one queue: settle what has ended, then lease what it has room
--   for. Both in one script, so that a busy worker needs one command a turn.
-- KEYS: 1 queue list, 2 inbox list, 3 leases (hash), 4 live (hash), 5 dead (stream), 6 names
--   (zset), 7 parked names (set), 8 workers (zset); then, by the indices in ARGV: response keys,
--   channels, parked lists
-- ARGV: 1 worker id, 2 how many requests to take at most, 3 how many bytes, 4 dead letters to
--   keep, 5 their age (ms), 6 count P of parked lists to take from first, 7 count S of outcomes;
--   then P times: key index, name; then S times: op, id, key index of the response list (0:
--   none), frame, ttl (ms), key index of the channel (0: none), note (error code or job name),
--   reason
--   ops: answer (push the frame), done (nobody asked), bury (to the dead letters; and push the
--   frame if there is a key), back (to the head of the queue), unknown (park it if a live worker
--   maps the name, else answer or bury; reason is the key index of the parked list)
-- Returns: {results, length, parked, {id, raw, id, raw, ...}}. results: one character per
--   outcome: '1' settled, '0' refused, since the lease is gone, 'P' parked. length: of the queue
--   afterwards. parked: how many names have parked requests. Last, what was leased.
-- Derived keys: none.
-- Cost: O(outcomes + taken). An element without a readable id or with a live one is buried here,
--   since it cannot be leased.
local worker, take, max_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local dead_max, dead_age = ARGV[4], tonumber(ARGV[5])
local parked_count, outcome_count = tonumber(ARGV[6]), tonumber(ARGV[7])

local function bury(raw, id, code, reason)
  -- What is far over any limit is kept in part: a dead letter is for people to read.
  if #raw > 4194304 then raw = string.sub(raw, 1, 65536) end
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', dead_max, '*', 'id', id, 'code', code,
    'reason', reason, 'worker', worker, 'request', raw)
  redis.call('XTRIM', KEYS[5], 'MINID', '~', string.format('%.0f', now_ms() - dead_age))
  redis.call('PEXPIRE', KEYS[5], dead_age)
end

-- Settling ------------------------------------------------------------------------------------

local results, ended, announced = {}, {}, {}

-- The notification is made here, from answers whose fence held, and nowhere else.
-- A script that fails half-way is not undone: what others can make fail must not end it. Somebody
-- may have put something else at the response key; the answer is then kept for people.
local function push(key, frame, ttl, channel, id)
  local pushed = redis.pcall('RPUSH', key, frame)
  if type(pushed) == 'table' and pushed.err then
    return bury(frame, id, 'invalid_request', 'something else than a list lies at its response key')
  end
  redis.call('PEXPIRE', key, ttl)
  if not channel then return end
  local note = announced[channel] or { size = 0 }
  announced[channel] = note
  local text = frame
  if #text > 8192 or note.size + #text > 262144 then text = '"' .. id .. '"' end
  note.size = note.size + #text
  note[#note + 1] = text
end

local function settle(op, id, key, frame, ttl, channel, note, reason)
  local raw = false
  if op ~= 'answer' and op ~= 'done' then raw = redis.call('HGET', KEYS[3], id) end
  if redis.call('HDEL', KEYS[3], id) == 0 then return '0' end -- the fence
  ended[#ended + 1] = id
  if op == 'back' then
    redis.call('LPUSH', KEYS[1], raw)
    return '1'
  end
  if op == 'unknown' then
    local until_ms = redis.call('ZSCORE', KEYS[6], note)
    if until_ms and tonumber(until_ms) > now_ms() then
      redis.call('RPUSH', KEYS[tonumber(reason)], raw)
      redis.call('SADD', KEYS[7], note)
      return 'P'
    end
    if not key then bury(raw, id, 'unknown_job', 'no live worker maps `' .. note .. '`') end
  end
  if op == 'bury' then bury(raw, id, note, reason) end
  if key then push(key, frame, ttl, channel, id) end
  return '1'
end

local at = 8 + 2 * parked_count
for i = 1, outcome_count do
  results[i] = settle(ARGV[at], ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], ARGV[at + 3],
    ARGV[at + 4], KEYS[tonumber(ARGV[at + 5])], ARGV[at + 6], ARGV[at + 7])
  at = at + 8
end
for i = 1, #ended, 500 do
  redis.call('HDEL', KEYS[4], unpack(ended, i, math.min(i + 499, #ended)))
end
for channel, note in pairs(announced) do
  -- May be forbidden to this user; the keys are the truth.
  redis.pcall('SPUBLISH', channel, '[' .. table.concat(note, ',') .. ']')
end

-- Leasing -------------------------------------------------------------------------------------

local taken, seen, bytes, leases = {}, 0, 0, {}

local function lease(raw)
  seen = seen + 1
  local id = string.match(raw, '^%s*{%s*"id"%s*:%s*"([%w_-]+)"')
  if not id then
    local ok, request = pcall(cjson.decode, raw)
    if ok and type(request) == 'table' and type(request.id) == 'string' then
      id = string.match(request.id, '^[%w_-]+$')
    end
  end
  if not id or #id > 64 then
    bury(raw, '', 'invalid_request', 'not a JSON object with an `id` of 1 to 64 of [A-Za-z0-9_-]')
  elseif redis.call('HSETNX', KEYS[4], id, worker) == 0 then
    bury(raw, id, 'invalid_request', 'a live request of this queue has the same id')
  else
    leases[#leases + 1] = id
    leases[#leases + 1] = raw
    taken[#taken + 1] = id
    taken[#taken + 1] = raw
    bytes = bytes + #raw
  end
end

local function keep()
  if #leases > 0 then redis.call('HSET', KEYS[3], unpack(leases)) end
  leases = {}
end

-- Takes from the head of a list in portions that grow with what the bytes so far allow. What would
-- go over the limit goes back, unless it is all that there is.
local function drain(key)
  local portion = 4
  while seen < take and bytes < max_bytes do
    local raws = redis.call('LPOP', key, math.min(portion, take - seen))
    if not raws then return end
    for i = 1, #raws do
      if bytes > 0 and bytes + #raws[i] > max_bytes then
        for j = #raws, i, -1 do redis.call('LPUSH', key, raws[j]) end
        return keep()
      end
      lease(raws[i])
    end
    keep()
    local average = #taken > 0 and 2 * bytes / #taken or 1
    portion = math.max(1, math.min(250, 2 * portion, math.floor((max_bytes - bytes) / average)))
  end
end

-- What a blocked pop has moved is this worker's already, room or not.
while true do
  local raw = redis.call('LPOP', KEYS[2])
  if not raw then break end
  lease(raw)
end
keep()

for i = 1, parked_count do
  local key, name = KEYS[tonumber(ARGV[6 + 2 * i])], ARGV[7 + 2 * i]
  drain(key)
  if redis.call('EXISTS', key) == 0 then redis.call('SREM', KEYS[7], name) end
end
drain(KEYS[1])

-- Whoever leases can be found by those who take over, also if it has been taken for dead before
-- this and never says anything again.
if #taken > 0 then
  redis.call('ZADD', KEYS[8], 'NX', string.format('%.0f', now_ms() - 1), worker)
end

return { table.concat(results), redis.call('LLEN', KEYS[1]), redis.call('SCARD', KEYS[7]),
  taken }
