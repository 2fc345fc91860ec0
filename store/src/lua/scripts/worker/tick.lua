-- Purpose: enqueue the ticks of a recurring schedule that were not enqueued yet. Every worker calls
--   it for every tick; the comparison with the last one admits each tick once.
-- KEYS: 1 queue list, 2 ticks (hash), 3 schedule (zset), 4 limited names (hash), 5 parked names
--   (set), 6 deferred (zset)
-- ARGV: 1 name of the schedule, 2 maximum length of the queue (0: no cap), 3 the last tick if none
--   is stored (Redis time, ms; empty: now); then per tick, earliest first: its time (Redis time,
--   ms), the envelope
-- Returns: {enqueued, last, now, ahead}. enqueued: how many of the ticks were pushed; those up to
--   the last one were pushed before, those after now or over the cap are skipped. last: the last
--   tick known, ms. now: Redis time, ms. ahead: how far the stored one was ahead of now, ms; now
--   replaces it: Redis's clock was set back.
-- Derived keys: parked:<name> of the parked names.
-- Cost: O(1) per tick.
local now = now_ms()
local cap = tonumber(ARGV[2])
local left = room(cap, KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
local stored = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '')
-- A last tick after now counts as now, also one that a worker remembers.
local last = math.min(stored or tonumber(ARGV[3]) or now, now)
local ahead = math.max(0, (stored or 0) - now)
local enqueued = 0

return whole(function()
  for i = 4, #ARGV, 2 do
    local at = tonumber(ARGV[i])
    if at > last then
      -- A worker whose clock is ahead must not be early; and no tick may overtake a skipped one.
      if at > now or enqueued >= left then break end
      redis.call('RPUSH', KEYS[1], ARGV[i + 1])
      undo('RPOP', KEYS[1])
      last, enqueued = at, enqueued + 1
    end
  end
  -- Written by the first worker, and at each start: the others have nothing to add.
  if enqueued > 0 or ahead > 0 or #ARGV < 4 then
    redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', last))
    if stored then
      undo('HSET', KEYS[2], ARGV[1], string.format('%.0f', stored))
    else
      undo('HDEL', KEYS[2], ARGV[1])
    end
    redis.call('PEXPIRE', KEYS[2], 34560000000)
  end
  return { enqueued, last, now, ahead }
end)
