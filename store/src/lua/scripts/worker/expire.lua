-- Purpose: end deferred requests that were not settled in time.
-- KEYS: 1 deferred (zset)
-- ARGV: 1 maximum number, 2 number of bytes after which to stop
-- Returns: {ended, {id, name, nonce, ...}}. ended: how many. Then those whose end has to be
--   published.
-- Derived keys: those of deferred.lua.
-- Cost: O(ended * log records), O(waiters of their calls).
local base = string.match(KEYS[1], '^(.*):deferred$')
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now_ms()),
  'LIMIT', 0, ARGV[1])
local ended, events, bytes, failed = 0, {}, 0
for _, id in ipairs(over) do
  if bytes > tonumber(ARGV[2]) then break end
  local record = read_deferred(base, id)
  if record then
    local before = outbox_size
    local ok, problem = attempt(end_deferred, base, id, record, 'late', 'deadline_exceeded',
      'the deferred answer was not settled in time')
    noted = 0
    if ok then
      note_event(events, id, record)
    else
      -- Retry this one in a minute, after the others.
      outbox_size, failed = before, text_of(problem)
      redis.pcall('ZADD', KEYS[1], 'XX', string.format('%.0f', now_ms() + 60000), id)
    end
    bytes = bytes + #record.raw
  else
    redis.call('ZREM', KEYS[1], id)
  end
  ended = ended + 1
end
announce()
-- If no event has to be published, return the error.
if failed and #events == 0 then return redis.error_reply(failed) end
return { ended, events }
