-- Purpose: end the requests that were to be answered later and were not in time.
-- KEYS: 1 deferred (zset)
-- ARGV: 1 how many at most, 2 after how many bytes to stop
-- Returns: {ended, {id, name, nonce, ...}}. ended: how many. Then those of which somebody wants to
--   be notified.
-- Derived keys: those of deferred.lua.
-- Cost: O(ended * log records), O(waiters of their calls).
local base = string.match(KEYS[1], '^(.*):deferred$')
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now_ms()),
  'LIMIT', 0, ARGV[1])
local ended, told, bytes, failed = 0, {}, 0
for _, id in ipairs(over) do
  if bytes > tonumber(ARGV[2]) then break end
  local record = read_deferred(base, id)
  if record then
    local before = telling
    local ok, problem = attempt(end_deferred, base, id, record, 'late', 'deadline_exceeded',
      'it was not settled in time')
    noted = 0
    if ok then
      note_event(told, id, record)
    else
      -- This one is tried again in a minute, behind the others.
      telling, failed = before, text_of(problem)
      redis.pcall('ZADD', KEYS[1], 'XX', string.format('%.0f', now_ms() + 60000), id)
    end
    bytes = bytes + #record.raw
  else
    redis.call('ZREM', KEYS[1], id)
  end
  ended = ended + 1
end
announce()
-- Without an end there is nothing to tell but why.
if failed and #told == 0 then return redis.error_reply(failed) end
return { ended, told }
