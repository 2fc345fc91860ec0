-- Purpose: push one request that is fetched later, and leave a `pending` frame at its response key,
--   so that a fetch can tell a queued request from an unknown one.
-- KEYS: 1 queue list, 2 response key
-- ARGV: 1 longest length of the queue (0: no cap), 2 the envelope, 3 the pending frame, 4 TTL of
--   the response key, ms
-- Returns: 1 queued, 0 the queue is full
-- Derived keys: none.
-- Cost: O(1).
local cap = tonumber(ARGV[1])
if cap > 0 and redis.call('LLEN', KEYS[1]) >= cap then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('RPUSH', KEYS[1], ARGV[2])
return 1
