-- Purpose: move due requests from the schedule to the queue: those that were started before to the
--   head, the rest to the tail.
-- KEYS: 1 schedule (zset), 2 scheduled (hash), 3 queue list, 4 attempts (hash)
-- ARGV: 1 maximum number to move, 2 number of bytes after which to stop
-- Returns: {moved, due}. moved: how many. due: when the next one is due, Redis time in ms, in the
--   past if one call could not move all; 0 if nothing is scheduled.
-- Derived keys: none.
-- Cost: O(moved * log scheduled).
local now = string.format('%.0f', now_ms())
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local moved, bytes, max_bytes = 0, 0, tonumber(ARGV[2])

-- Moves a request: it enters the queue before it leaves the schedule.
local function move(id)
  local raw = redis.call('HGET', KEYS[2], id)
  if raw and redis.call('HEXISTS', KEYS[4], id) == 1 then
    redis.call('LPUSH', KEYS[3], raw)
    undo('LPOP', KEYS[3])
  elseif raw then
    redis.call('RPUSH', KEYS[3], raw)
    undo('RPOP', KEYS[3])
  end
  redis.call('HDEL', KEYS[2], id)
  if raw then undo('HSET', KEYS[2], id, raw) end
  redis.call('ZREM', KEYS[1], id)
  noted = 0
  if not raw then return end
  moved, bytes = moved + 1, bytes + #raw
end

return whole(function()
  for _, id in ipairs(due) do
    if bytes >= max_bytes then break end
    move(id)
  end
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return { moved, tonumber(first[2] or 0) }
end)
