-- Purpose: the code that all scripts share; Rust puts it in front of each.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: one call to TIME where now_ms is used.

-- The time of the first check, ms.
local script_time

-- Redis time in ms, the one clock of the deployment: the same within one script.
local function now_ms()
  if not script_time then
    local time = redis.call('TIME')
    script_time = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return script_time
end
