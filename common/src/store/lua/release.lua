-- Purpose: give everything that a worker holds on one queue back to the head of the queue, and
--   take the worker off the registry: by itself when it leaves, or by another when its lease has
--   ended.
-- KEYS: 1 queue list, 2 workers (zset), 3 live (hash), 4 leases (hash) and 5 inbox (list) and 6
--   info of the worker that is released
-- ARGV: 1 id of that worker, 2 '1' if it releases itself, '0' if another takes over
-- Returns: how many requests went back, or -1 if the worker still lives
-- Derived keys: none.
-- Cost: O(what that worker holds).
if ARGV[2] == '0' then
  local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
  if not ends or tonumber(ends) > now_ms() then return -1 end
end
local back = 0
local leases = redis.call('HGETALL', KEYS[4])
for i = 1, #leases, 2 do
  redis.call('LPUSH', KEYS[1], leases[i + 1])
  redis.call('HDEL', KEYS[3], leases[i])
  back = back + 1
end
while redis.call('LMOVE', KEYS[5], KEYS[1], 'RIGHT', 'LEFT') do back = back + 1 end
redis.call('DEL', KEYS[4], KEYS[6])
redis.call('ZREM', KEYS[2], ARGV[1])
return back
