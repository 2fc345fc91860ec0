-- Purpose: how many more requests a queue may hold; part of the scripts that add to it.
-- KEYS: none of its own; queue list, schedule (zset), limited names (hash) are handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(limited names with sorted requests).

-- What waits for its time or its turn counts as well, or it could grow without end.
local function room(cap, queue, schedule, limited)
  if cap == 0 then return math.huge end
  local held = redis.call('LLEN', queue) + redis.call('ZCARD', schedule)
  for _, sorted in ipairs(redis.call('HVALS', limited)) do held = held + sorted end
  return cap - held
end
