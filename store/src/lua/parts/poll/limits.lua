-- Purpose: requests of limited names, partitioned by the key that their limit counts by; part of
--   the scripts that partition them and draw from them, after permits.lua.
-- KEYS: none of its own; queue, limited and permits are passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: of the queue, whose base is passed in: rotation:<name>, held:<name>,
--   running:<name>:<key>, limited:<name>:<key>, limit_keys:<name>.
-- Cost: O(1) per request.

-- A key of a limited name that has partitioned requests is in exactly one list: `rotation` (it is
-- drawn in turn), `held` (the maximum runs), or `throttled` (its rate allows none yet). It is also
-- in `limit_keys`, in which rotation.lua finds keys of no list.

-- Adds a key whose first request goes back to its list in this step.
local function add_limit_key(base, name, key)
  redis.pcall('SADD', base .. ':limit_keys:' .. name, key)
  redis.call('RPUSH', base .. ':rotation:' .. name, key)
  undo('RPOP', base .. ':rotation:' .. name)
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
