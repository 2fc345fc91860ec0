-- Purpose: note that queues are in use, so that the list of queues shows them. Runs on a full Redis
--   too: the queue that fills it may not be noted yet.
-- KEYS: 1 queues (zset)
-- ARGV: 1 now (Redis ms), 2 maximum number of names, 3 TTL (s), then the names
-- Returns: 1
-- Derived keys: none.
-- Cost: O(names * log queues).
for i = 4, #ARGV do redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
