-- Purpose: check a right before it is needed; part of the scripts that move requests.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1).

-- Fails if this user may not run a command that a later step needs, or its undo: nothing has been
-- done then.
local function need(command, key)
  if redis.acl_check_cmd(command, key, 'field', 'value') then return end
  error('NOPERM this user has no right to run ' .. string.lower(command) .. ' on ' .. key, 0)
end
