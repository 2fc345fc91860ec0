-- Purpose: let time pass: the leases of all workers but `healer` end, and waiting elements are due.
-- KEYS: 1 workers (zset); then zsets of waiting elements, by their due times
-- ARGV: none.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(waiting elements).
for _, worker in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if worker ~= 'healer' then redis.call('ZADD', KEYS[1], 1, worker) end
end
for i = 2, #KEYS do
  for _, what in ipairs(redis.call('ZRANGE', KEYS[i], 0, -1)) do
    redis.call('ZADD', KEYS[i], 1, what)
  end
end
