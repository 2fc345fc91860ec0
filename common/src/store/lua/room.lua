-- Purpose: how many more requests a queue may hold; part of the scripts that add to it.
-- KEYS: none of its own; queue list, schedule (zset), limited names (hash), parked names
--   (set), pending (zset), and the mark that the answers kept are at their bound (string; nil where
--   no answer is wanted) are handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: parked:<name> of the parked names.
-- Cost: O(names with sorted or parked requests).

-- How many more, and whether no further answer may be promised. Requests that are scheduled,
-- sorted, parked or deferred count as well, or they could grow without end.
local function room(cap, queue, schedule, limited, parked, pending, marked)
  if cap == 0 then return math.huge, marked and redis.call('EXISTS', marked) == 1 end
  local held = redis.call('LLEN', queue)
  local some = redis.call('EXISTS', schedule, limited, parked, pending, marked or pending)
  if some == 0 then return cap - held, false end
  -- As long as one that exists is not accounted for, the next one is looked at.
  local scheduled, sorted = redis.call('ZCARD', schedule), redis.call('HVALS', limited)
  local names = redis.call('SMEMBERS', parked)
  for _, found in ipairs({ scheduled, #sorted, #names }) do
    if found > 0 then some = some - 1 end
  end
  held = held + scheduled
  for _, requests in ipairs(sorted) do held = held + requests end
  for _, name in ipairs(names) do
    held = held + redis.call('LLEN', parked .. ':' .. name)
  end
  if some > 0 then
    local deferred = redis.call('ZCARD', pending)
    held = held + deferred
    if deferred > 0 then some = some - 1 end
  end
  return cap - held, marked and some > 0 and redis.call('EXISTS', marked) == 1
end
