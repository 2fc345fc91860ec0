-- Purpose: end a job of rq that is in a gateway's inbox, and answer its caller.
-- KEYS: 1 inbox (list), 2 the caller's response key (list); absent without answer
-- ARGV: 1 the job's id, 2 beginning of the keys of jobs, 3 its status in rq, 4 TTL of the job (s),
--   5 the answer, 6 TTL of the answer (s)
-- Returns: 1 ended; 0 another gateway has taken the job over, nothing was written; 2 ended without
--   its answer, as the response key is not a list
-- Derived keys: ARGV 2 and the job's id.
-- Cost: O(jobs in the inbox).
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
local kind = KEYS[2] and redis.call('TYPE', KEYS[2]).ok
local is_lost = kind and kind ~= 'none' and kind ~= 'list'
-- The last steps must not fail once the answer is there, or the next attempt repeats it. Both of
-- these change nothing: no id is that long, and the TTL is set again below.
redis.call('LREM', KEYS[1], 1, string.rep('x', 1000))
if kind and not is_lost then redis.call('EXPIRE', KEYS[2], ARGV[6]) end
local job = ARGV[2] .. ARGV[1]
if redis.call('TYPE', job).ok == 'hash' then
  redis.call('HSET', job, 'status', is_lost and 'failed' or ARGV[3])
  redis.call('HDEL', job, 'redcall_taken_at')
  redis.call('EXPIRE', job, ARGV[4])
end
if kind and not is_lost then
  redis.call('LPUSH', KEYS[2], ARGV[5])
  redis.call('EXPIRE', KEYS[2], ARGV[6])
end
redis.call('LREM', KEYS[1], 1, ARGV[1])
return is_lost and 2 or 1
