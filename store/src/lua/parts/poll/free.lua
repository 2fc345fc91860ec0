-- Purpose: give back the permits of the outcomes of a poll; the last part of a function of
--   poll.lua, for queues that have permits.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: a function.
-- Derived keys: those of permits.lua.
-- Cost: O(1) per outcome.

-- Gives back the permit of an outcome, and returns it; nil if it has none.
return function(id)
  local permit
  if permits then permit = permits[id] else permit = redis.call('HGET', KEYS[13], id) end
  if not permit then return nil end
  local name = give_back(base, KEYS[13], id, permit)
  if name then freed[name] = true end
  return permit
end
