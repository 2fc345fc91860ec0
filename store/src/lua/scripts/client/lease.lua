-- Purpose: take, renew or release the lease on a name. Only its owner renews and releases it: an
--   owner whose lease has ended changes nothing of the next one.
-- KEYS: 1 lease key
-- ARGV: 1 `take`, `renew` or `release`; 2 owner; 3 time limit, ms
-- Returns: 1 done; 0 another owner has it, or it has ended
-- Derived keys: none.
-- Cost: O(1).
local verb, owner = ARGV[1], ARGV[2]
local holder = redis.call('GET', KEYS[1])

if holder == owner then
  if verb == 'release' then
    redis.call('DEL', KEYS[1])
  else
    -- Taking it twice renews it: the reply to the first may have been lost.
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
  end
  return 1
end
if holder or verb ~= 'take' then return 0 end
redis.call('SET', KEYS[1], owner, 'PX', ARGV[3])
return 1
