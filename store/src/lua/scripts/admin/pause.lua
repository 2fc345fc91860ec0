-- Purpose: pause or resume one queue, and notify its workers.
-- KEYS: 1 paused (string), 2 control channel
-- ARGV: 1 '1' to pause, '0' to resume, 2 the message for the workers
-- Returns: 1 if that changed the state, 0 if not.
-- Derived keys: none.
-- Cost: O(1).
local changed
if ARGV[1] == '1' then
  -- NX: keeps the time of the first pause.
  changed = redis.call('SET', KEYS[1], string.format('%.0f', now_ms()), 'NX') and 1 or 0
else
  changed = redis.call('DEL', KEYS[1])
end
-- Published in any case: an earlier message may have been lost. May be forbidden to this user; the
-- workers read the key.
redis.pcall('SPUBLISH', KEYS[2], ARGV[2])
return changed
