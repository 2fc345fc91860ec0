-- Purpose: answers and their announcement, and dead letters; part of the scripts that end requests.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: answers of the queue.
-- Cost: O(1) per request; O(nodes of the dead letters) for some dead letters, see bytes.lua.

-- Where dead letters go: key, how many are kept ("<entries> <bytes>"; bytes 0: any number) and for
-- how long (age, ms), and by whom. Set by the script before it buries.
local dead = {}

local function bury(raw, id, code, reason, history)
  -- What is far over any limit is kept in part: a dead letter is for people to read.
  if #raw > 4194304 then raw = string.sub(raw, 1, 65536) end
  local entry = { 'id', id, 'code', code, 'reason', reason, 'worker', dead.by, 'request', raw }
  if history then
    entry[11], entry[12] = 'history', history
  end
  local most, most_bytes = string.match(dead.max, '^(%d+) ?(%d*)$')
  local added = redis.call('XADD', dead.key, 'MAXLEN', '~', most, '*', unpack(entry))
  redis.call('XTRIM', dead.key, 'MINID', '~', string.format('%.0f', now_ms() - dead.age))
  redis.call('PEXPIRE', dead.key, dead.age)
  keep_within(dead.key, tonumber(most_bytes), added, #raw + #reason + #(history or ''))
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
  weigh(key, size_at(key, pushed, #frame))
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
