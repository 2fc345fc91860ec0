-- Purpose: push requests at the tail of one queue, unless nobody would serve a waited one or the
--   queue is full.
-- KEYS: 1 queue list, 2 workers (zset), 3 schedule (zset), 4 limited names (hash),
--   5 parked names (set)
-- ARGV: 1 longest length of the queue (0: no cap); then per request: '1' if somebody waits for it,
--   else '0'; the envelope
-- Returns: {live, accepted}. live: 1 if a worker listens or nobody waits, 0 if the waited ones
--   were left out. accepted: how many of those not left out were pushed, in order; the rest is
--   over the cap.
-- Derived keys: parked:<name> of the parked names.
-- Cost: O(log workers) once, O(1) per request.
local cap = tonumber(ARGV[1])
local left = room(cap, KEYS[1], KEYS[3], KEYS[4], KEYS[5])
local live, accepted, batch = nil, 0, {}

for i = 2, #ARGV, 2 do
  local wanted = true
  if ARGV[i] == '1' then
    if live == nil then
      -- A worker whose lease has ended is not counted: it is dead or cut off.
      live = redis.call('ZCOUNT', KEYS[2], now_ms(), '+inf') > 0
    end
    wanted = live
  end
  if wanted then
    if accepted >= left then break end
    accepted = accepted + 1
    batch[#batch + 1] = ARGV[i + 1]
    if #batch == 500 then -- unpack has a limit of a few thousand
      redis.call('RPUSH', KEYS[1], unpack(batch))
      batch = {}
    end
  end
end
if #batch > 0 then redis.call('RPUSH', KEYS[1], unpack(batch)) end
return { live == false and 0 or 1, accepted }
