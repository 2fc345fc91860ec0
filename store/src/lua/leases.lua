-- Purpose: lease requests that were popped in the same step; part of poll.lua, after outcomes.lua.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per request.

-- Id, element and history of each leased request; `kept` of these entries are from earlier steps.
local taken, count, kept = {}, 0, 0
local own = holder(worker)
-- Id and element of each request that this step has leased; `stored` is true once they are stored.
local leases, stored = {}, false

-- Undoes all leases of a step: a note for each would cost more than its commands.
local function end_leases()
  for i = 1, #leases, 2 do
    redis.pcall('HDEL', KEYS[4], leases[i])
    if stored then redis.pcall('HDEL', KEYS[3], leases[i]) end
  end
end

-- Leases a request. Returns its id, or nil.
local function lease(raw)
  local id = make_live(KEYS[1], raw, KEYS[4], own)
  if not id then return nil end
  if #leases == 0 then undo(end_leases) end
  leases[#leases + 1] = id
  leases[#leases + 1] = raw
  local mark = ''
  if has_cancelled and redis.call('ZSCORE', KEYS[12], id) then
    mark = 'C'
  elseif has_history then
    mark = redis.call('HGET', KEYS[11], id) or ''
  end
  taken[count + 1], taken[count + 2], taken[count + 3] = id, raw, mark
  count = count + 3
  return id
end

-- The number of entries of `moved` (sorted.lua) in this step.
local moves = 0

function after_step(ok)
  if not ok then count = kept end
  if #leases > 0 then leases, stored = {}, false end
  seen, kept, moves = seen + (count - kept) / 3, count, 0
end

-- Stores the leases of this step.
local function keep()
  if #leases == 0 then return end
  redis.call('HSET', KEYS[3], unpack(leases))
  stored = true
end
