-- Purpose: requests of limited names, sorted by the key that their limit counts by; part of the
--   scripts that sort them, draw from them and give their slots back.
-- KEYS: none of its own; slots (hash) and control (channel) are handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: of the queue, whose base is handed in: turns:<name>, held:<name>,
--   running:<name>:<key>.
-- Cost: O(1) per request.

-- A key of a limited name that has sorted requests is in exactly one place: in `turns` (its turn
-- comes), in `held` (as many run as may), or in `later` (its rate allows none before then).

local function limit_of(slot)
  return string.match(slot, '^(%S+) (.*)$')
end

-- Gives the slot of a lease back that has ended; the name whose key may go on, if one may.
local function give_back(base, slots, id)
  local slot = redis.call('HGET', slots, id)
  if not slot then return nil end
  redis.call('HDEL', slots, id)
  local name, key = limit_of(slot)
  redis.call('SREM', base .. ':running:' .. name .. ':' .. key, id)
  if redis.call('SREM', base .. ':held:' .. name, key) == 0 then return nil end
  redis.call('RPUSH', base .. ':turns:' .. name, key)
  return name
end
