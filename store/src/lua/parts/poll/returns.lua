-- Purpose: give the request of an outcome back, to run again; the last part of a function of
--   poll.lua, after limits.lua.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: a function.
-- Derived keys: those of limits.lua.
-- Cost: O(1).

return function(permit, raw)
  local name = to_head(base, KEYS[1], KEYS[14], permit, raw)
  if name then
    freed[name], has_limited = true, true
  end
end
