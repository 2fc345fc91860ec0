-- Purpose: lease requests that were popped in the same step; part of cycle.lua, behind
--   outcomes.lua.
-- KEYS: of cycle.lua.
-- ARGV: of cycle.lua.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per request.

-- Id, element and mark of each leased request; `kept` of these entries are of earlier steps.
local taken, count, kept, leases = {}, 0, 0, {}

-- The id, if the request is this worker's now.
local function lease(raw)
  local id = #raw <= max_request and id_of(raw)
  if not id then
    refuse_unreadable(KEYS[1], raw, KEYS[4])
    return nil
  elseif redis.call('HSETNX', KEYS[4], id, holder(worker)) == 0 then
    refuse(KEYS[1], raw, id, 'invalid_request', LIVE_ID)
    return nil
  end
  undo('HDEL', KEYS[4], id)
  local mark = ''
  if has_cancelled and redis.call('ZSCORE', KEYS[12], id) then
    mark = 'C'
  elseif has_history then
    mark = redis.call('HGET', KEYS[11], id) or ''
  end
  leases[#leases + 1] = id
  leases[#leases + 1] = raw
  taken[count + 1], taken[count + 2], taken[count + 3] = id, raw, mark
  count = count + 3
  return id
end

function after_step(ok)
  if not ok then count = kept end
  seen, kept, leases = seen + (count - kept) / 3, count, {}
end

-- Stores the leases of this step.
local function keep()
  if #leases == 0 then return end
  redis.call('HSET', KEYS[3], unpack(leases))
  for i = 1, #leases, 2 do undo('HDEL', KEYS[3], leases[i]) end
end
