-- Purpose: what both scripts of a worker's turn share: its first arguments, dead letters, the
--   answers and their announcement, the reading of an id; part of plain.lua and cycle.lua.
-- KEYS: of the script it is part of: 5 dead (stream).
-- ARGV: of the script it is part of: 1 worker id, 2 how many requests to take at most, 3 how many
--   bytes, 4 dead letters to keep, 5 their age (ms), 6 base of the queue's keys, 7 serial of the
--   turn, 8 '1' if it was sent before and its reply was lost
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per request.
local worker, take, max_bytes, base = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[6]

local function bury(raw, id, code, reason, history)
  -- What is far over any limit is kept in part: a dead letter is for people to read.
  if #raw > 4194304 then raw = string.sub(raw, 1, 65536) end
  local entry = { 'id', id, 'code', code, 'reason', reason, 'worker', worker, 'request', raw }
  if history then
    entry[11], entry[12] = 'history', history
  end
  local age = tonumber(ARGV[5])
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*', unpack(entry))
  redis.call('XTRIM', KEYS[5], 'MINID', '~', string.format('%.0f', now_ms() - age))
  redis.call('PEXPIRE', KEYS[5], age)
end

-- The notification is made here, from answers whose fence held, and nowhere else.
local announced = {}

-- A script that fails half-way is not undone: what others can make fail must not end it. Somebody
-- may have put something else at the response key; the answer is then kept for people.
local function push(key, frame, ttl, channel, id)
  local pushed = redis.pcall('RPUSH', key, frame)
  if type(pushed) == 'table' and pushed.err then
    return bury(frame, id, 'invalid_request', 'something else than a list lies at its response key')
  end
  redis.call('PEXPIRE', key, ttl)
  if not channel then return end
  local note = announced[channel]
  if not note then
    note = { size = 0, count = 0 }
    announced[channel] = note
  end
  local size, count = #frame, note.count + 1
  if size > 8192 or note.size + size > 262144 then
    frame = '"' .. id .. '"'
    size = #frame
  end
  note.size, note.count, note[count] = note.size + size, count, frame
end

local function announce()
  for channel, note in pairs(announced) do
    -- May be forbidden to this user; the keys are the truth.
    redis.pcall('SPUBLISH', channel, '[' .. table.concat(note, ',') .. ']')
  end
end

-- What this very turn said, if it has taken effect already.
local function said_before(key)
  if ARGV[8] ~= '1' then return nil end
  local serial, said = string.match(redis.call('GET', key) or '', '^(%S+) (%S*)$')
  return serial == ARGV[7] and said or nil
end

local function id_of(raw)
  local id = string.match(raw, '^%s*{%s*"id"%s*:%s*"([%w_-]+)"')
  if not id then
    local ok, request = pcall(cjson.decode, raw)
    if ok and type(request) == 'table' and type(request.id) == 'string' then
      id = string.match(request.id, '^[%w_-]+$')
    end
  end
  return id and #id <= 64 and id
end
