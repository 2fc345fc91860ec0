-- Purpose: undo the steps of a script before one that failed; part of the scripts that move
--   requests.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per step; nothing at Redis unless a command fails.

-- Redis undoes nothing if a command fails in the middle of a script. A script therefore stores
-- before it removes, and notes with each step the command that undoes it.
local steps, noted = {}, 0

-- A step may also be a function that undoes a whole batch: a note per element would cost more than
-- the elements' commands do.
local function undo(command, key, first, second)
  local at = noted
  noted = at + 4
  steps[at + 1], steps[at + 2], steps[at + 3], steps[noted] = command, key, first, second
end

-- Undoes the steps noted since `from`, newest first. Without `redis.call`: one that fails must not
-- prevent the others.
local function undo_from(from)
  for at = noted - 3, from + 1, -4 do
    local command, key, first, second = unpack(steps, at, at + 3)
    if type(command) == 'function' then
      command()
    elseif second then
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

-- Fails if this user may not run a command that a later step needs, or its undo: nothing has been
-- done then.
local function need(command, key)
  if redis.acl_check_cmd(command, key, 'field', 'value') then return end
  error('NOPERM this user has no right to run ' .. string.lower(command) .. ' on ' .. key, 0)
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
