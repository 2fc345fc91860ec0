-- Purpose: admit one request of a kind per window of time.
-- KEYS: 1 the holder of the window (string)
-- ARGV: 1 request id, 2 when it was enqueued (ms; 0: now), 3 length of the window (ms)
-- Returns: 1 it may run, 0 another one of the same kind was enqueued less than a window before
-- Derived keys: none.
-- Cost: O(1).
local at, window = tonumber(ARGV[2]), tonumber(ARGV[3])
if at == 0 then at = now_ms() end
local holder = redis.call('GET', KEYS[1])
if holder then
  local id, since = string.match(holder, '^(%S+) (%d+)$')
  if id == ARGV[1] then return 1 end -- started again
  if id and math.abs(at - tonumber(since)) < window then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. string.format('%.0f', at), 'PX', ARGV[3])
return 1
