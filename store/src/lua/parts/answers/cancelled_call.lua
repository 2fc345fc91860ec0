-- Purpose: answer the callers that joined a cancelled call, when the same call begins again before
--   a worker has seen the cancelled request; part of the scripts that begin calls.
-- KEYS: none of its own; the record of the idempotency key (hash) is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: response:<id> and status:<id> of callers that joined the call.
-- Cost: O(waiters), which are bounded.

-- The worker that leases the cancelled request finds the record of another call, so no other script
-- answers the waiting callers. That worker answers the request's own caller, of the id `runs`.
local function end_cancelled(record, runs, id)
  local base = string.match(record, '^(.*):idem:')
  local fields = redis.call('HGETALL', record)
  for i = 1, #fields, 2 do
    local waiter = string.match(fields[i], '^w:(.+)$')
    if waiter and waiter ~= runs and waiter ~= id then
      local ttl, channel, kept = wants_of(fields[i + 1])
      local key = base .. ':response:' .. waiter
      local tail = ',"type":"error","seq":1,"attempt":1,'
        .. '"error":{"code":"cancelled","message":"the call was cancelled"}}'
      local frame = '{"id":"' .. waiter .. '","response_key":"' .. key .. '"' .. tail
      if ttl ~= '0' then
        redis.call('RPUSH', key, frame)
        undo('RPOP', key)
        redis.call('PEXPIRE', key, ttl)
        -- May be forbidden to this user; the key is authoritative.
        if channel then redis.pcall('SPUBLISH', channel, '[' .. frame .. ']') end
      end
      if kept then note_end(base .. ':status:' .. waiter, kept, tail) end
    end
  end
  redis.call('DEL', record)
end
