-- Purpose: give everything that a worker holds on one queue back to the head of the queue, and
--   take the worker off the registry: by itself when it leaves, or by another when its lease has
--   ended. Only then what it held counts as a crash.
-- KEYS: 1 queue list, 2 workers (zset), 3 live (hash), 4 leases (hash) and 5 inbox (list) and 6
--   info of the worker that is released, 7 history (hash), 8 slots (hash), 9 its turn (string),
--   10 limited names (hash), 11 control (channel)
-- ARGV: 1 id of that worker, 2 '1' if it releases itself, '0' if another takes over, 3 base of the
--   queue's keys
-- Returns: how many requests went back, or -1 if the worker still lives
-- Derived keys: turns:<name>, held:<name>, running:<name>:<key>, limited:<name>:<key>,
--   limit_keys:<name> of limited names.
-- Cost: O(what that worker holds).
local worker, crashed = ARGV[1], ARGV[2] == '0'
if crashed then
  local ends = redis.call('ZSCORE', KEYS[2], worker)
  if not ends or tonumber(ends) > now_ms() then return -1 end
end
local has_slots = redis.call('EXISTS', KEYS[8]) == 1
local back, sorted, now = 0, false, crashed and now_ms()
local leases = redis.call('HGETALL', KEYS[4])
for i = 1, #leases, 2 do
  local id, raw = leases[i], leases[i + 1]
  redis.call('HDEL', KEYS[3], id)
  local slot
  if has_slots then
    local _
    _, slot = give_back(ARGV[3], KEYS[8], id)
  end
  sorted = to_head(ARGV[3], KEYS[1], KEYS[10], slot, raw) or sorted
  if crashed then
    local record = recall(KEYS[7], id)
    record.attempt = record.attempt + 1
    record.crashes = record.crashes + 1
    add_run(record, { attempt = record.attempt, worker = worker, ended_at = now,
      code = 'worker_lost' })
    remember(KEYS[7], id, record)
  end
  back = back + 1
end
while redis.call('LMOVE', KEYS[5], KEYS[1], 'RIGHT', 'LEFT') do back = back + 1 end
redis.call('DEL', KEYS[4], KEYS[6], KEYS[9])
redis.call('ZREM', KEYS[2], worker)
if sorted then redis.pcall('SPUBLISH', KEYS[11], 'work') end
return back
