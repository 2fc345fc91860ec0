-- Purpose: let each signed request run once: its id is remembered for as long as its signature
--   holds.
-- KEYS: 1 who has started it (string)
-- ARGV: 1 who asks, 2 until when it is remembered (Redis ms)
-- Returns: 1 it is theirs, 0 somebody else has started it before
-- Derived keys: none.
-- Cost: O(1).
local before = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'PXAT', ARGV[2])
if before and before ~= ARGV[1] then return 0 end
return 1
