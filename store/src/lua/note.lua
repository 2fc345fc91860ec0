-- Purpose: note that queues are in use, so that the list of queues shows them. Runs on a full
--   Redis, too: the name of the queue that has to be relieved there may not be noted yet.
-- KEYS: 1 queues (zset)
-- ARGV: 1 now (Redis ms), 2 how many names are kept, 3 for how long (s), then the names
-- Returns: 1
-- Derived keys: none.
-- Cost: O(names * log queues).
for i = 4, #ARGV do redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
