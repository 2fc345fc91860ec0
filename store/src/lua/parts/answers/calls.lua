-- Purpose: end a call under an idempotency key, for all callers that joined it or call later; part
--   of the scripts that end requests, after answers.lua and joined.lua.
-- KEYS: none of its own; the record of the key (hash) and the base of the queue's keys are passed
--   in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: response:<id> and status:<id> of callers that joined the call; answers of the
--   queue.
-- Cost: O(waiters), which are bounded.

-- Answers all callers that have joined the call, and keeps its end for later ones. Runs within an
-- `attempt`.
local function end_call(base, record, id, frame, ttl)
  local fields = redis.call('HGETALL', record)
  local runs, waiters = nil, {}
  for i = 1, #fields, 2 do
    local field, value = fields[i], fields[i + 1]
    if field == 'id' then runs = value end
    local waiter = string.match(field, '^w:(.+)$')
    if waiter and waiter ~= id then waiters[waiter] = value end
  end
  if runs ~= id then return end -- it was cancelled, and another caller has started it again
  local function head(of)
    return '{"id":"' .. of .. '","response_key":"' .. base .. ':response:' .. of .. '"'
  end
  local tail = string.sub(frame, #head(id) + 1)
  for waiter, value in pairs(waiters) do
    local wanted_ttl, channel, kept = wants_of(value)
    if wanted_ttl ~= '0' then
      push(base .. ':response:' .. waiter, head(waiter) .. tail, wanted_ttl, channel, waiter)
    end
    if kept then note_end(base .. ':status:' .. waiter, kept, tail) end
  end
  if ttl == '0' then
    redis.call('DEL', record)
    for i = 1, #fields, 2 do undo('HSET', record, fields[i], fields[i + 1]) end
    return
  end
  redis.call('HSET', record, 'deadline', '0', 'tail', tail)
  undo('HDEL', record, 'tail')
  for i = 1, #fields, 2 do
    local field = fields[i]
    -- After the end is stored, the waiters are obsolete.
    local goes = field == 'keep' or string.sub(field, 1, 2) == 'w:'
    if goes then redis.pcall('HDEL', record, field) end
    if goes or field == 'deadline' then undo('HSET', record, field, fields[i + 1]) end
  end
  redis.call('PEXPIRE', record, ttl)
  weigh(record, #tail)
end
