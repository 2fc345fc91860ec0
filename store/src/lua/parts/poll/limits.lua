-- Purpose: requests of limited names, sorted by the key that their limit counts by; part of the
--   scripts that sort them, draw from them and return their permits.
-- KEYS: none of its own; queue, limited and permits are passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: of the queue, whose base is passed in: rotation:<name>, held:<name>,
--   running:<name>:<key>, limited:<name>:<key>, limit_keys:<name>.
-- Cost: O(1) per request.

-- A key of a limited name that has sorted requests is in exactly one list: `rotation` (it is drawn
-- in turn), `held` (the maximum runs), or `throttled` (its rate allows none yet). It is also in
-- `limit_keys`, in which rotation.lua finds keys of no list.

-- Adds a key whose first request goes back to its list in this step.
local function add_limit_key(base, name, key)
  redis.pcall('SADD', base .. ':limit_keys:' .. name, key)
  redis.call('RPUSH', base .. ':rotation:' .. name, key)
  undo('RPOP', base .. ':rotation:' .. name)
end

-- Returns the name and the key of a limit, as permits and throttled keys name it.
local function limit_of(limit)
  return string.match(limit, '^(%S+) (.*)$')
end

-- The permit that was given back last.
local given = {}

local function retake_permit()
  redis.pcall('HSET', given.permits, given.id, given.permit)
  redis.pcall('SADD', given.running, given.id)
end

-- Per name, true if some of its keys were held at the first permit that was given back: most names
-- have none, and a look for each key would cost more than one for all.
local holds = {}

-- Gives back the permit of a lease that ends in this step. Returns the name whose key may continue,
-- if one may.
local function give_back(base, permits, id, permit)
  local name, key = limit_of(permit)
  local running, held = base .. ':running:' .. name .. ':' .. key, base .. ':held:' .. name
  if holds[name] == nil then holds[name] = redis.call('EXISTS', held) == 1 end
  local goes_on = holds[name] and redis.call('SISMEMBER', held, key) == 1
  if goes_on then
    redis.call('RPUSH', base .. ':rotation:' .. name, key)
    undo('RPOP', base .. ':rotation:' .. name)
    redis.call('SREM', held, key)
    undo('SADD', held, key)
  end
  given.permits, given.id, given.permit, given.running = permits, id, permit, running
  undo(retake_permit)
  redis.call('SREM', running, id)
  redis.call('HDEL', permits, id)
  return goes_on and name or nil
end

-- Moves a request whose lease ends in this step to the head of the queue, or, if it had a permit,
-- of its key's list: in the queue, others of its key could overtake it. In that case it returns the
-- name, whose workers should be notified.
local function to_head(base, queue, limited, permit, raw)
  if not permit then
    redis.call('LPUSH', queue, raw)
    undo('LPOP', queue)
    return nil
  end
  local name, key = limit_of(permit)
  local list = base .. ':limited:' .. name .. ':' .. key
  local length = redis.call('LPUSH', list, raw)
  undo('LPOP', list)
  redis.call('HINCRBY', limited, name, 1)
  undo('HINCRBY', limited, name, -1)
  if length == 1 then add_limit_key(base, name, key) end
  return name
end
