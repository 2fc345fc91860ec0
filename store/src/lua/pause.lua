-- Purpose: pause one queue or let it go on, and tell its workers.
-- KEYS: 1 paused (string), 2 control channel
-- ARGV: 1 '1' to pause, '0' to go on, 2 the message for the workers
-- Returns: 1 if that changed something, 0 if the queue was so already.
-- Derived keys: none.
-- Cost: O(1).
local changed
if ARGV[1] == '1' then
  -- Not a second time: it stays known since when.
  changed = redis.call('SET', KEYS[1], string.format('%.0f', now_ms()), 'NX') and 1 or 0
else
  changed = redis.call('DEL', KEYS[1])
end
-- Said in any case: an earlier message may have been lost. May be forbidden to this user; the
-- workers look at the key.
redis.pcall('SPUBLISH', KEYS[2], ARGV[2])
return changed
