-- Purpose: end a gateway's lease at once; others take over the jobs that are left in its inbox.
-- KEYS: 1 gateways (sorted set), 2 inbox (list)
-- ARGV: 1 the gateway's id
-- Returns: the number of jobs left in the inbox
-- Derived keys: none.
-- Cost: O(log(gateways)).
local left = 0
if redis.call('TYPE', KEYS[2]).ok == 'list' then left = redis.call('LLEN', KEYS[2]) end
if left == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
end
return left
