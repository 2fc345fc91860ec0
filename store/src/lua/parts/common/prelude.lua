-- Purpose: the code that all scripts share; Rust puts it in front of each.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: a call to TIME where now_ms is used.

-- Redis time in ms: the one clock of the deployment.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
