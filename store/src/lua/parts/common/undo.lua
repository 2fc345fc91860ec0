-- Purpose: undo the steps of a script before one that failed; part of the scripts that move
--   requests, after steps.lua.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per step; nothing at Redis unless a command fails.

-- Undoes the steps noted since `from`, newest first. Without `redis.call`: one that fails must not
-- prevent the others.
local function undo_from(from)
  for at = noted - 3, from + 1, -4 do
    local command, key, first, second = unpack(steps, at, at + 3)
    if second then
      redis.pcall(command, key, first, second)
    elseif first then
      redis.pcall(command, key, first)
    else
      redis.pcall(command, key)
    end
  end
  noted = from
end

-- Runs `step`. Returns true and its result; or false and the error, with its steps undone.
local function attempt(step, ...)
  local from = noted
  local ok, result = pcall(step, ...)
  if not ok then undo_from(from) end
  return ok, result
end

-- Returns the text of an error that `attempt` has caught.
local function text_of(problem)
  return tostring(type(problem) == 'table' and problem.err or problem)
end

-- Runs a whole script: it takes effect as a whole, or not at all.
local function whole(script)
  local ok, result = attempt(script)
  if ok then return result end
  return redis.error_reply(text_of(result))
end
