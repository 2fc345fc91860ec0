-- Purpose: push requests at the tail of one queue, unless nobody would serve a waited one or the
--   queue is full.
-- KEYS: 1 queue list, 2 workers (zset), 3 schedule (zset), 4 limited names (hash),
--   5 parked names (set)
-- ARGV: 1 longest length of the queue (0: no cap), 2 one character per request: '1' if somebody
--   waits for it, else '0'; then the envelopes
-- Returns: {live, accepted}. live: 1 if a worker listens or nobody waits, 0 if the waited ones
--   were left out. accepted: how many of those not left out were pushed, in order; the rest is
--   over the cap.
-- Derived keys: parked:<name> of the parked names.
-- Cost: O(log workers) once, O(1) per request.
local left = room(tonumber(ARGV[1]), KEYS[1], KEYS[3], KEYS[4], KEYS[5])
local flags, count, first = ARGV[2], #ARGV - 2, 2
local live = true
if string.find(flags, '1', 1, true) then
  -- A worker whose lease has ended is not counted: it is dead or cut off.
  -- Nor one whose lease ends later than two of the longest: Redis's clock was ahead when it was
  -- written.
  local now = now_ms()
  live = redis.call('ZCOUNT', KEYS[2], string.format('%.0f', now),
    string.format('%.0f', now + 7200000)) > 0
end

-- Pushes those from the one up to the other; unpack has a limit of a few thousand.
local function push(from, upto)
  for i = from, upto, 1000 do
    redis.call('RPUSH', KEYS[1], unpack(ARGV, first + i, first + math.min(i + 999, upto)))
  end
end

local accepted
if live then
  accepted = math.max(0, math.min(count, left))
  push(1, accepted)
else
  accepted = 0
  for i = 1, count do
    if accepted >= left then break end
    if string.sub(flags, i, i) == '0' then
      accepted = accepted + 1
      push(i, i)
    end
  end
end
return { live and 1 or 0, accepted }
