-- Purpose: requests that are answered later, which no worker has: each has a record until somebody
--   settles it with its token, it is cancelled, or its time is over; part of the scripts that write
--   or end them, behind answers.lua, record.lua and calls.lua.
-- KEYS: none of its own; the base of the queue's keys is handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: of the queue: deferred, deferred:<id>, live, attempts, cancelled, dead, and
--   response:<id> and status:<id> of the request and of callers that joined its call.
-- Cost: O(log records), O(waiters of its call).

-- How long a record lies there beyond its deadline, for the case that no worker is there to see it.
local BEYOND = 604800000

-- The record of a request that is to be settled within so many ms.
local function keep_deferred(base, id, key, within, fields)
  local deadline, ttl = string.format('%.0f', now_ms() + within), within + BEYOND
  -- Of a record of before, which was settled, only that is left.
  redis.call('HDEL', key, 'by')
  -- How long it has: times.lua tells a deadline by it that a clock has put too far ahead.
  redis.call('HSET', key, 'deadline', deadline, 'within', within, unpack(fields))
  undo('DEL', key)
  redis.call('PEXPIRE', key, string.format('%.0f', ttl))
  for i = 1, #fields, 2 do
    if fields[i] == 'status' then
      -- Its states are kept for as long as it may take, and then as long as any.
      local kept = string.format('%.0f', within + tonumber(fields[i + 1]))
      redis.call('PEXPIRE', base .. ':status:' .. id, kept, 'GT')
    end
  end
  redis.call('ZADD', base .. ':deferred', deadline, id)
  undo('ZREM', base .. ':deferred', id)
  if redis.call('PTTL', base .. ':deferred') < ttl then
    redis.call('PEXPIRE', base .. ':deferred', string.format('%.0f', ttl))
  end
end

-- Its fields; nil if it has been settled, or there is none.
local function read_deferred(base, id)
  local fields, record = redis.call('HGETALL', base .. ':deferred:' .. id), {}
  for i = 1, #fields, 2 do record[fields[i]] = fields[i + 1] end
  return record.raw and record
end

-- Ends it, and removes all that was stored for it, after its end is stored. `tail`: the ending
-- frame without its first two fields, or which of those its worker has left in the record. `keep`:
-- whether its end is kept for a later caller of the same call. Runs within an `attempt`.
local function end_deferred(base, id, record, tail, code, reason, keep)
  tail = record[tail] or tail
  -- Also of an answer that finds another value at its key.
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
  -- What is left over from here on is found by heartbeats, or ends by its time.
  redis.pcall('ZREM', base .. ':deferred', id)
  redis.pcall('HDEL', base .. ':live', id)
  redis.pcall('HDEL', base .. ':attempts', id)
  redis.pcall('ZREM', base .. ':cancelled', id)
end

-- Adds what is said of it on the topic of results, if its worker has promised that.
local function note_event(told, id, record)
  if record.event ~= '1' then return end
  told[#told + 1] = id
  told[#told + 1] = record.name
  told[#told + 1] = record.nonce or ''
end
