-- Purpose: how many more requests a queue may hold; part of the scripts that add to it.
-- KEYS: none of its own; queue list, schedule (zset), limited names (hash), parked names
--   (set) are handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: parked:<name> of the parked names.
-- Cost: O(names with sorted or parked requests).

-- What waits for its time, its turn or its worker counts as well, or it could grow without end.
local function room(cap, queue, schedule, limited, parked)
  if cap == 0 then return math.huge end
  local held = redis.call('LLEN', queue)
  if redis.call('EXISTS', schedule, limited, parked) == 0 then return cap - held end
  held = held + redis.call('ZCARD', schedule)
  for _, sorted in ipairs(redis.call('HVALS', limited)) do held = held + sorted end
  for _, name in ipairs(redis.call('SMEMBERS', parked)) do
    held = held + redis.call('LLEN', parked .. ':' .. name)
  end
  return cap - held
end
