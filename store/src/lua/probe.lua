-- Purpose: put one probe where its worker's next poll takes it from, in the place of the last one.
-- KEYS: 1 queue list, 2 leases (hash), 3 live (hash), all of the worker's own probes
-- ARGV: 1 the envelope, 2 how long it may lie there (ms)
-- Returns: 1
-- Derived keys: none.
-- Cost: O(1).
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
-- Leasing gives a hash no TTL. It keeps the one that it has: hence a field that no id can be.
for i = 2, 3 do
  redis.call('HSET', KEYS[i], '', '')
  redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
return 1
