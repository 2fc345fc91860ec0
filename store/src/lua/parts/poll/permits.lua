-- Purpose: give back the permits of requests of limited names; part of the scripts that do, after
--   steps.lua.
-- KEYS: none of its own; the key of the permits is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: of the queue, whose base is passed in: rotation:<name>, held:<name>,
--   running:<name>:<key>.
-- Cost: O(1) per request.

-- Returns the name and the key of a limit, as permits and throttled keys name it.
local function limit_of(limit)
  return string.match(limit, '^(%S+) (.*)$')
end

-- Per name, true if some of its keys were held at the first permit that was given back: most names
-- have none, and a check of each key would cost more than one for all.
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
  redis.call('SREM', running, id)
  undo('SADD', running, id)
  redis.call('HDEL', permits, id)
  undo('HSET', permits, id, permit)
  return goes_on and name or nil
end
