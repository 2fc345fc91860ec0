-- Purpose: read the id of an element, and dead-letter elements that cannot be leased; part of the
--   scripts of a poll, after answers.lua and scan.lua.
-- KEYS: 5 dead (stream), of the script it is part of.
-- ARGV: of poll_common.lua.
-- Returns: nothing.
-- Derived keys: scheduled of the queue; response:<id> of a refused request.
-- Cost: O(1) per element, O(frames) of a response key.
dead.key, dead.max, dead.age, dead.by = KEYS[5], ARGV[4], tonumber(ARGV[5]), worker

local function id_of(raw)
  local head = #raw > 4096 and string.sub(raw, 1, 4096) or raw
  local id = string.match(head, '^%s*{%s*"id"%s*:%s*"([%w_-]+)"')
  if not id then id = string.match(text_field(raw, 'id') or '', '^[%w_-]+$') end
  return id and #id <= 64 and id
end

-- The bytes of response keys that this script has read.
local read_bytes = 0

-- Returns true if the id of a refused element without a lease belongs to another request: one that
-- is scheduled, or whose answer waits for its caller. A response key beyond 4 MiB, in one script,
-- is not read, and counts as an answer.
local function is_taken(id)
  if redis.pcall('HEXISTS', base .. ':scheduled', id) == 1 then return true end
  local key = base .. ':response:' .. id
  local used = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')
  if not used then return false end
  -- The right to measure may be missing.
  if type(used) == 'number' then read_bytes = read_bytes + used end
  if read_bytes > 4194304 then return true end
  local last = redis.pcall('LINDEX', key, -1)
  local kind = type(last) == 'string'
    and string.match(last, '^{"id":"[%w_-]+","response_key":"[^"]*","type":"(%a+)"')
  return kind == 'result' or kind == 'error'
end

-- Dead-letters an element that cannot be leased. If that fails, the element goes to the tail of the
-- queue: it must neither be lost nor block the others.
local function refuse(queue, raw, id, code, reason)
  notes[#notes + 1] = code
  local ok, problem = attempt(dead_letter, raw, id, code, reason)
  if ok then return end
  notes[1] = text_of(problem)
  redis.call('RPUSH', queue, raw)
  undo('RPOP', queue)
end

-- Pushes the error frame of a request that is too large, if its caller waits: the response key is
-- searched for at both ends of the element.
local function answer_oversize(raw, id, reason)
  local key = base .. ':response:' .. id
  local quoted = '"' .. key .. '"'
  if string.find(string.sub(raw, 1, 4096), quoted, 1, true)
    or string.find(string.sub(raw, -4096), quoted, 1, true)
  then
    push(key, '{"id":"' .. id .. '","response_key":' .. quoted .. ',"type":"error","seq":1,'
      .. '"attempt":1,"error":{"code":"too_large","message":"' .. reason .. '"}}',
      '600000', nil, id)
  end
end

-- Refuses an element without an id, or over the limit: its dead letter has only the first 64 KiB.
-- It is read once.
local function refuse_unreadable(queue, raw, live)
  if #raw <= max_request then
    return refuse(queue, raw, '', 'invalid_request',
      'not a JSON object with an `id` of 1 to 64 of [A-Za-z0-9_-] in its first 4 KiB')
  end
  local id = id_of(raw)
  local reason = string.format('the request has %d bytes, the limit is %d (limits.request)',
    #raw, max_request)
  refuse(queue, string.sub(raw, 1, 65536), id or '', 'too_large', reason)
  if id and redis.call('HEXISTS', live, id) == 0 and not is_taken(id) then
    answer_oversize(raw, id, reason)
  end
end

-- Adds the id of an element to the `live` ids of its holder, and returns it; nil if it was refused.
local function make_live(queue, raw, live, own)
  local id = #raw <= max_request and id_of(raw)
  if not id then return refuse_unreadable(queue, raw, live) end
  if redis.call('HSETNX', live, id, own) == 1 then return id end
  refuse(queue, raw, id, 'invalid_request', 'a live request of this queue has the same id')
end
