-- Purpose: measure the answers that a queue keeps, from the sample of kept.lua, and mark the queue
--   while they are at their limit: new requests that want an answer are then refused.
-- KEYS: 1 answers (hash), 2 the mark (string)
-- ARGV: 1 limit in bytes (0: none), 2 TTL of the mark (ms), 3 how long another worker's tally is
--   used (ms)
-- Returns: {fresh, bytes, full}. fresh: 0 if another worker has just measured them, and this call
--   did nothing. full: 1 if they are at their limit, else 0.
-- Derived keys: response:<id> and idem:<digest> of the sample.
-- Cost: O(keys checked): a thousand, and an eighth of a larger sample, up to 20,000. The rest is
--   estimated from these.
local now, max = now_ms(), tonumber(ARGV[1])
local base = string.match(KEYS[1], '^(.*):answers$')
if redis.call('EXISTS', KEYS[1]) == 0 then
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('DEL', KEYS[2]) end
  return { 1, 0, 0 }
end
local added_at = tonumber(redis.call('HGET', KEYS[1], ':at') or '')
if added_at and added_at <= now and now - added_at < tonumber(ARGV[3]) then
  return { 0, 0, 0 }
end

-- Enough to remove deleted keys from the sample as fast as new ones are added.
local all = redis.call('HLEN', KEYS[1])
local noted = redis.call('HRANDFIELD', KEYS[1],
  math.min(20000, 1000 + math.floor(all / 8)), 'WITHVALUES')
local bytes, counted, gone = 0, 0, {}
for i = 1, #noted, 2 do
  local what = noted[i]
  -- Names with a leading colon are fields of this script.
  if string.sub(what, 1, 1) ~= ':' then
    counted = counted + 1
    if redis.call('EXISTS', base .. ':' .. what) == 1 then
      bytes = bytes + (tonumber(noted[i + 1]) or 0)
    else
      gone[#gone + 1] = what
    end
  end
end
if added_at then all = all - 2 end
if counted > 0 and all > counted then bytes = bytes * all / counted end
for i = 1, #gone, 500 do
  redis.call('HDEL', KEYS[1], unpack(gone, i, math.min(i + 499, #gone)))
end
if bytes == 0 and all <= #gone then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], ':at', string.format('%.0f', now),
    ':bytes', string.format('%.0f', bytes))
end
local full = max > 0 and bytes >= max and 1 or 0
if full == 1 then
  redis.call('SET', KEYS[2], string.format('%.0f', now), 'PX', ARGV[2])
elseif redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('DEL', KEYS[2])
end
return { 1, math.floor(bytes), full }
