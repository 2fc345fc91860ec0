-- Purpose: settle outcomes that are deferred, end a call or have extras; the last part of a
--   function of poll.lua for them.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: a table of functions.
-- Derived keys: those of its parts.
-- Cost: O(1) per outcome, and those of its parts.

-- Returns the position of the extra of this kind, if the outcome has one: at most one of each.
local function extra_of(kind, first, last)
  for at = first, last, 4 do
    if ARGV[at] == kind then return at end
  end
end

-- Returns two flags: the outcome changes a service's state; Redis has another version of it.
local function check_state(first, last)
  local at = extra_of('state', first, last)
  if not at then return false, false end
  local found = redis.call('HGET', KEYS[tonumber(ARGV[at + 1])], 'version')
  return true, (found or '0') ~= string.match(ARGV[at + 3], '^%d+')
end

-- Writes the state. The lease has ended, and is restored if this fails.
local function write_state(first, last)
  local at = extra_of('state', first, last)
  local key, text = KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2]
  local version, ttl, seal = string.match(ARGV[at + 3], '^(%d+) (%d+) (.*)$')
  if text == '' then return redis.call('DEL', key) end
  local before = redis.call('HMGET', key, 'state', 'seal')
  local fields = { 'state', text, 'version', string.format('%.0f', version + 1) }
  if seal ~= '' then fields[5], fields[6] = 'seal', seal end
  redis.call('HSET', key, unpack(fields))
  if before[1] then
    undo('HSET', key, 'state', before[1])
    undo('HSET', key, 'version', version)
  else
    undo('DEL', key)
  end
  if before[2] then
    if seal == '' then redis.call('HDEL', key, 'seal') end
    undo('HSET', key, 'seal', before[2])
  elseif seal ~= '' then
    undo('HDEL', key, 'seal')
  end
  return redis.call('PEXPIRE', key, ttl)
end

-- Writes the end of a tracked job. Called only once the request has ended and is not parked.
local function end_status(first, last)
  local at = extra_of('status', first, last)
  if not at then return end
  local key = KEYS[tonumber(ARGV[at + 1])]
  note_status(key, ARGV[at + 3], string.match(ARGV[at + 2], '^(%a+)(.*)$'))
end

-- A signed request that has ended must not run again, whatever happens later.
local function end_start(first, last)
  local at = extra_of('seen', first, last)
  if not at then return end
  redis.pcall('SET', KEYS[tonumber(ARGV[at + 1])], 'ended', 'XX', 'PXAT', ARGV[at + 3])
end

-- Defers a request: its id stays live, so that requests with the same id are refused.
local function defer(id, raw, at)
  local call, timeout = KEYS[tonumber(ARGV[at + 9])], tonumber(ARGV[at + 6])
  keep_deferred(base, id, KEYS[tonumber(ARGV[at + 7])], timeout, {
    'raw', raw, 'worker', worker, 'dead_max', ARGV[4], 'dead_age', ARGV[5],
    'idem', call or '', 'keep', ARGV[at + 10], unpack(cjson.decode(ARGV[at + 8])),
  })
  redis.call('HSET', KEYS[4], id, holder(DEFERRED))
  undo('HSET', KEYS[4], id, own)
end

-- Writes what outcomes change after their end.
local function finish(op, first, last)
  if op ~= 'defer' then attempt(end_status, first, last) end
  end_start(first, last)
end

-- Ends a request that was deferred just now, if it was cancelled, which its worker does not know.
local function end_cancelled_deferred(id)
  -- A failure here would leave the other outcomes of the poll unfinished.
  local cancelled = has_cancelled and redis.pcall('ZSCORE', KEYS[12], id)
  if type(cancelled) ~= 'string' then return end
  local before = outbox_size
  if not attempt(end_deferred, base, id, read_deferred(base, id), 'gone', 'cancelled') then
    outbox_size = before
  end
end

return {
  check_state = check_state, write_state = write_state, defer = defer, finish = finish,
  end_cancelled_deferred = end_cancelled_deferred, end_call = end_call,
}
