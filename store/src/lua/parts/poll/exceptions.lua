-- Purpose: what a poll does if a command fails or an element cannot be leased; the last part of a
--   function of poll.lua that creates all functions needed for these.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: a table of functions.
-- Derived keys: those of refusal.lua.
-- Cost: O(1) per element.

local exceptions = {
  undo_from = undo_from, text_of = text_of, dead_letter = dead_letter, is_taken = is_taken,
  create_settlements = create_settlements, need = need,
}

-- Leases an element that is not plain. Returns its id, or nil if it was refused.
function exceptions.judge(raw)
  return make_live(KEYS[1], raw, KEYS[4], own)
end

-- Undoes a step of leasing that has failed.
function exceptions.undo_step()
  if limits then limits.undo_step() end
  for i = 1, leased, 2 do
    redis.pcall('HDEL', KEYS[4], leases[i])
    if stored then redis.pcall('HDEL', KEYS[3], leases[i]) end
  end
  undo_from(0)
  for i = off, 1, -1 do redis.pcall('LPUSH', popped_from, popped[i]) end
end

return exceptions
