-- Purpose: push requests at the tail of one queue, unless the queue is full; refuse waited ones if
--   no live worker serves the queue.
-- KEYS: 1 queue list, 2 workers (zset), 3 schedule (zset), 4 limited names (hash), 5 parked names
--   (set), 6 deferred (zset), 7 mark that the answers kept are at their limit (string)
-- ARGV: 1 maximum length of the queue (0: no cap), 2 one character per request: '1' if a caller
--   waits for it, else '0'; then the envelopes
-- Returns: {live, accepted}. live: 1 if the waited ones were accepted like the others; 0 if they
--   were refused because no live worker serves the queue, 2 because the answers kept are at their
--   limit. accepted: how many of the accepted requests were pushed, in order; the rest exceed the
--   cap.
-- Derived keys: parked:<name> of the parked names.
-- Cost: O(log workers) once, O(1) per request.
local cap, flags, count, first = tonumber(ARGV[1]), ARGV[2], #ARGV - 2, 2
local held, marked = waiting(KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
local max = cap == 0 and math.huge or cap - held
local live = 1
if string.find(flags, '1', 1, true) then
  if marked then
    live = 2
  -- A worker whose lease has ended does not count: it is dead or disconnected. Nor one whose lease
  -- ends later than two of the longest: Redis's clock was ahead then.
  else
    local now = now_ms()
    local ends = string.format('%.0f', now + 7200000)
    if redis.call('ZCOUNT', KEYS[2], string.format('%.0f', now), ends) == 0 then live = 0 end
  end
end

-- Pushes requests `from` to `upto`, and removes those over the cap: the reply of a push is the
-- length. Returns how many were pushed. unpack has a limit of a few thousand.
local function push(from, upto)
  local length = 0
  for i = from, upto, 1000 do
    length = redis.call('RPUSH', KEYS[1], unpack(ARGV, first + i, first + math.min(i + 999, upto)))
  end
  local over = math.max(0, math.min(length - max, upto - from + 1))
  if over > 0 then redis.call('LTRIM', KEYS[1], 0, string.format('%.0f', -over - 1)) end
  return upto - from + 1 - over
end

local accepted = 0
if live == 1 then
  accepted = push(1, count)
else
  for i = 1, count do
    if string.sub(flags, i, i) == '0' then
      if push(i, i) == 0 then break end
      accepted = accepted + 1
    end
  end
end
return { live, accepted }
