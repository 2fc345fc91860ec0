-- Purpose: store one probe for its worker's next poll, instead of the previous probe.
-- KEYS: 1 queue list, 2 leases (hash), 3 live (hash), all of the worker's own probes
-- ARGV: 1 the envelope, 2 its TTL (ms)
-- Returns: 1
-- Derived keys: none.
-- Cost: O(1).
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
-- Leasing sets no TTL on a hash, but keeps an existing one: hence a field that is not a valid id.
for i = 2, 3 do
  redis.call('HSET', KEYS[i], '', '')
  redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
return 1
