-- Purpose: deferred requests, which no worker holds: each has a record until a completion token
--   settles it, it is cancelled, or its deadline passes; part of the scripts that write or end
--   them, after answers.lua, record.lua and calls.lua.
-- KEYS: none of its own; the base of the queue's keys is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: of the queue: deferred, deferred:<id>, live, attempts, cancelled, dead, and
--   response:<id> and status:<id> of the request and of callers that joined its call.
-- Cost: O(log records), O(waiters of its call).

-- How long a record outlives its deadline, in case no worker is there to end it, ms.
local BEYOND = 604800000

-- Stores the record of a request that has to be settled within `timeout` ms.
local function keep_deferred(base, id, key, timeout, fields)
  local deadline, ttl = string.format('%.0f', now_ms() + timeout), timeout + BEYOND
  -- The only field left of an earlier record that was settled.
  redis.call('HDEL', key, 'by')
  -- times.lua compares the deadline with `timeout` to detect a clock that was ahead.
  redis.call('HSET', key, 'deadline', deadline, 'within', timeout, unpack(fields))
  undo('DEL', key)
  redis.call('PEXPIRE', key, string.format('%.0f', ttl))
  for i = 1, #fields, 2 do
    if fields[i] == 'status' then
      -- Its states outlive the deadline by their usual TTL.
      local kept = string.format('%.0f', timeout + tonumber(fields[i + 1]))
      redis.call('PEXPIRE', base .. ':status:' .. id, kept, 'GT')
    end
  end
  redis.call('ZADD', base .. ':deferred', deadline, id)
  undo('ZREM', base .. ':deferred', id)
  if redis.call('PTTL', base .. ':deferred') < ttl then
    redis.call('PEXPIRE', base .. ':deferred', string.format('%.0f', ttl))
  end
end

-- Returns its fields; nil if it was settled or does not exist.
local function read_deferred(base, id)
  local fields, record = redis.call('HGETALL', base .. ':deferred:' .. id), {}
  for i = 1, #fields, 2 do record[fields[i]] = fields[i + 1] end
  return record.raw and record
end

-- Ends it: stores its end, then removes everything stored for it. `tail`: the final frame without
-- its first two fields, or the name of the record's field that has one. `keep`: true if the end is
-- kept for later callers of the same call. Runs within an `attempt`.
local function end_deferred(base, id, record, tail, code, reason, keep)
  tail = record[tail] or tail
  -- Also for an answer whose response key has another type.
  dead.key, dead.by = base .. ':dead', record.worker
  dead.max, dead.age = record.dead_max, tonumber(record.dead_age)
  if record.dead_letter == '1' and code ~= '' and code ~= 'cancelled' then
    local past = recall(base .. ':attempts', id)
    dead_letter(record.raw, id, code, reason, past.runs and cjson.encode(past.runs))
  end
  local key = base .. ':response:' .. id
  local frame = '{"id":"' .. id .. '","response_key":"' .. key .. '"' .. tail
  if record.ttl then push(key, frame, record.ttl, record.channel, id) end
  if record.status then note_end(base .. ':status:' .. id, record.status, tail) end
  if record.idem ~= '' then
    end_call(base, record.idem, id, frame, keep and record.keep or '0')
  end
  redis.call('DEL', base .. ':deferred:' .. id)
  -- Heartbeats or TTLs remove the keys that remain after a failure from here on.
  redis.pcall('ZREM', base .. ':deferred', id)
  redis.pcall('HDEL', base .. ':live', id)
  redis.pcall('HDEL', base .. ':attempts', id)
  redis.pcall('ZREM', base .. ':cancelled', id)
end

-- Adds its event for the topic of results, if its worker has requested one.
local function note_event(events, id, record)
  if record.event ~= '1' then return end
  events[#events + 1] = id
  events[#events + 1] = record.name
  events[#events + 1] = record.nonce or ''
end
