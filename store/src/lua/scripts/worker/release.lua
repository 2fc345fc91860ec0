-- Purpose: return all requests that a worker holds on one queue to the head of the queue, and
--   remove the worker from the registry: by itself at its shutdown, or by another worker after its
--   lease has ended. Only in the latter case its requests count a crash.
-- KEYS: 1 queue list, 2 workers (zset), 3 live (hash), 4 leases (hash) and 5 inbox (list) and 6
--   info of the released worker, 7 attempts (hash), 8 permits (hash), 9 its poll (string), 10
--   limited names (hash), 11 control (channel), 12 and 13 its lane inboxes (lists), 14 and 15 their
--   poll records (strings), 16 lanes (zset)
-- ARGV: 1 id of that worker, 2 '1' if it releases itself, '0' if another takes over, 3 base of the
--   queue's keys
-- Returns: {back, left}. back: how many requests were returned, or -1 if the worker is alive. left:
--   1 if another call has to follow because it holds more than one call moves (4 MiB, 1,000
--   requests), else 0
-- Derived keys: rotation:<name>, held:<name>, running:<name>:<key>, limited:<name>:<key>,
--   limit_keys:<name> of limited names.
-- Cost: O(requests of that worker).
local worker, crashed = ARGV[1], ARGV[2] == '0'

-- The numbers of bytes and of requests after which to stop: Redis needs 2 ms for each MiB.
local MAX_BYTES, MAX_MOVED = 4194304, 1000

if crashed then
  local ends = redis.call('ZSCORE', KEYS[2], worker)
  if not ends or tonumber(ends) > now_ms() then return { -1, 0 } end
end
local has_permits = redis.call('EXISTS', KEYS[8]) == 1
local back, bytes, partitioned, failed, now = 0, 0, false, nil, crashed and now_ms()

local function count_crash(id)
  local record, before = recall(KEYS[7], id)
  record.attempt = record.attempt + 1
  record.crashes = record.crashes + 1
  add_run(record, { attempt = record.attempt, worker = worker, ended_at = now,
    code = 'worker_lost' })
  remember(KEYS[7], id, record, before)
end

-- Moves a request to its destination, then ends its lease.
local function return_request(id)
  need('HSET', KEYS[4])
  need('HDEL', KEYS[4])
  local raw = redis.call('HGET', KEYS[4], id)
  local permit = has_permits and redis.call('HGET', KEYS[8], id)
  if permit then give_back(ARGV[3], KEYS[8], id, permit) end
  local name = to_head(ARGV[3], KEYS[1], KEYS[10], permit, raw)
  if crashed then count_crash(id) end
  -- A remaining live id would refuse the request.
  redis.call('HDEL', KEYS[3], id)
  undo('HSET', KEYS[3], id, holder(worker))
  redis.call('HDEL', KEYS[4], id)
  bytes = bytes + #raw
  return name
end

local left = 0
for _, id in ipairs(redis.call('HKEYS', KEYS[4])) do
  if bytes >= MAX_BYTES or back >= MAX_MOVED then
    left = 1
    break
  end
  local ok, result = attempt(return_request, id)
  noted = 0
  if ok then
    back, partitioned = back + 1, result or partitioned
  else
    failed = text_of(result)
  end
end
while left == 0 do
  local raw = redis.call('LMOVE', KEYS[5], KEYS[1], 'RIGHT', 'LEFT')
  if not raw then break end
  back, bytes = back + 1, bytes + #raw
  if bytes >= MAX_BYTES or back >= MAX_MOVED then left = redis.call('EXISTS', KEYS[5]) end
end

-- Moves the last request of a lane inbox to the queue. Each may have been started.
local function return_young(inbox)
  local raw = redis.call('LMOVE', inbox, KEYS[1], 'RIGHT', 'LEFT')
  if not raw then return nil end
  -- The undo stores before it removes: the newest step first.
  undo('LPOP', KEYS[1])
  undo('RPUSH', inbox, raw)
  local id = crashed and string.match(text_field(raw, 'id') or '', '^[%w_-]+$')
  if id then count_crash(id) end
  return #raw
end

for i = 12, 13 do
  while left == 0 and not failed do
    local ok, size = attempt(return_young, KEYS[i])
    noted = 0
    if not ok then failed = text_of(size) end
    if not ok or not size then break end
    back, bytes = back + 1, bytes + size
    if bytes >= MAX_BYTES or back >= MAX_MOVED then
      left = redis.call('EXISTS', KEYS[12], KEYS[13])
    end
  end
end
if partitioned then redis.pcall('SPUBLISH', KEYS[11], 'work') end
-- While it holds requests it stays in the registry, so that it is released again.
if failed then return redis.error_reply(failed) end
if left == 0 then
  redis.call('DEL', KEYS[4], KEYS[6], KEYS[9], KEYS[14], KEYS[15])
  redis.call('ZREM', KEYS[2], worker)
  -- Redis may still serve a pop of a worker that died: heartbeats search for it.
  if not crashed then redis.call('ZREM', KEYS[16], worker) end
end
return { back, left }
