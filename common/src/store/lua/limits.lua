-- Purpose: requests of limited names, sorted by the key that their limit counts by; part of the
--   scripts that sort them, draw from them and give their slots back.
-- KEYS: none of its own; slots (hash) and control (channel) are handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: of the queue, whose base is handed in: turns:<name>, held:<name>,
--   running:<name>:<key>, limited:<name>:<key>, limit_keys:<name>.
-- Cost: O(1) per request.

-- A key of a limited name that has sorted requests is in exactly one place: in `turns` (its turn
-- comes), in `held` (as many run as may), or in `later` (its rate allows none before then). It is
-- in `limit_keys`, too: rotation.lua finds there a key that is in no place, and repairs its count.
-- So neither may fail a script whose request is stored already.

-- A key whose first request has just been sorted.
local function begins_to_wait(base, name, key)
  redis.pcall('SADD', base .. ':limit_keys:' .. name, key)
  redis.pcall('RPUSH', base .. ':turns:' .. name, key)
end

-- A key whose last sorted request has just been taken.
local function waits_no_more(base, name, key)
  redis.pcall('SREM', base .. ':limit_keys:' .. name, key)
end

-- The pace that a rate has kept, us: at most a window ahead, however far Redis's clock was when it
-- was written. Written back then, or it would stay as far ahead as the clock goes on.
local function pace_of(rate, now, window)
  local kept = tonumber(redis.call('GET', rate) or 0) or 0
  if kept <= now + window then return math.max(kept, now) end
  redis.call('SET', rate, string.format('%.0f', now + window), 'PX',
    string.format('%.0f', math.ceil(window / 1000)))
  return now + window
end

local function limit_of(slot)
  return string.match(slot, '^(%S+) (.*)$')
end

-- Gives the slot of a lease back that has ended; the name whose key may go on, if one may, and
-- what the slot was.
local function give_back(base, slots, id)
  local slot = redis.call('HGET', slots, id)
  if not slot then return nil end
  redis.call('HDEL', slots, id)
  local name, key = limit_of(slot)
  redis.call('SREM', base .. ':running:' .. name .. ':' .. key, id)
  if redis.call('SREM', base .. ':held:' .. name, key) == 0 then return nil, slot end
  redis.call('RPUSH', base .. ':turns:' .. name, key)
  return name, slot
end

-- Puts a request whose lease has ended where it came from: to the head of the queue, or, if it had
-- a slot, of those with its key: by way of the queue others of its key could overtake it. Then
-- the name, whose workers should hear of it.
local function to_head(base, queue, limited, slot, raw)
  if not slot then
    redis.call('LPUSH', queue, raw)
    return nil
  end
  local name, key = limit_of(slot)
  local sorted = redis.call('LPUSH', base .. ':limited:' .. name .. ':' .. key, raw)
  if sorted == 1 then begins_to_wait(base, name, key) end
  redis.pcall('HINCRBY', limited, name, 1)
  return name
end
