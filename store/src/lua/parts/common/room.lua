-- Purpose: compute how many more requests a queue may hold; part of the scripts that add to it.
-- KEYS: none of its own; queue list, schedule (zset), limited names (hash), parked names (set),
--   deferred (zset), and the mark that the answers kept are at their limit (string; nil if no
--   answer is wanted) are passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: parked:<name> of the parked names.
-- Cost: O(names with partitioned or parked requests).

-- Returns how many requests wait outside the queue, and true if new requests with an answer are
-- refused. Scheduled, partitioned, parked and deferred requests count too, or they could grow
-- without limit.
local function waiting(schedule, limited, parked, deferred, marked)
  if redis.call('EXISTS', schedule, limited, parked, deferred, marked or deferred) == 0 then
    return 0, false
  end
  local held = redis.call('ZCARD', schedule)
  if redis.call('EXISTS', limited, parked, deferred, marked or deferred) == 0 then
    return held, false
  end
  held = held + redis.call('ZCARD', deferred)
  for _, partitioned in ipairs(redis.call('HVALS', limited)) do held = held + partitioned end
  for _, name in ipairs(redis.call('SMEMBERS', parked)) do
    held = held + redis.call('LLEN', parked .. ':' .. name)
  end
  return held, marked and redis.call('EXISTS', marked) == 1
end

-- Returns how many more requests fit, and true if new requests with an answer are refused.
local function room(cap, queue, schedule, limited, parked, deferred, marked)
  if cap == 0 then return math.huge, marked and redis.call('EXISTS', marked) == 1 end
  local held, full = waiting(schedule, limited, parked, deferred, marked)
  return cap - redis.call('LLEN', queue) - held, full
end
