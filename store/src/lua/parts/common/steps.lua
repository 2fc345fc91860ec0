-- Purpose: note the steps of a script, so that they can be undone; part of the scripts that move
--   requests. Apart from undo.lua, which a poll needs only if a command fails.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per step; nothing at Redis.

-- Redis undoes nothing if a command fails in the middle of a script. A script therefore stores
-- before it removes, and notes with each step the command that undoes it. The table begins with
-- space for two.
local steps, noted = { nil, nil, nil, nil, nil, nil, nil, nil }, 0

-- Notes the command that undoes the step done just now.
local function undo(command, key, first, second)
  local at = noted
  noted = at + 4
  steps[at + 1], steps[at + 2], steps[at + 3], steps[noted] = command, key, first, second
end
