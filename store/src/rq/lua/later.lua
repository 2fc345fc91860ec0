-- Purpose: move a job of rq from a gateway's inbox to the jobs that any gateway sends later.
-- KEYS: 1 inbox (list), 2 later (list)
-- ARGV: 1 the job's id
-- Returns: 1 moved; 0 another gateway has taken the job over, nothing was written
-- Derived keys: none.
-- Cost: O(jobs in the inbox).
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
-- Changes nothing, as no id is that long: without the right to it, the job would be in both lists.
redis.call('LREM', KEYS[1], 1, string.rep('x', 1000))
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('LREM', KEYS[1], 1, ARGV[1])
return 1
