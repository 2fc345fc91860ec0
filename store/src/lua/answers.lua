-- Purpose: answers and their announcement, and dead letters; part of the scripts that end requests.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: answers of the queue.
-- Cost: O(1) per request; O(nodes of the dead letters) for some dead letters, see bytes.lua.

-- Where dead letters go: key, how many are kept ("<entries> <bytes>"; bytes 0: any number) and for
-- how long (age, ms), and by whom. Set by the script before it buries.
local dead = {}

local function dead_letter(raw, id, code, reason, history)
  -- What is far over any limit is kept in part: a dead letter is for people to read.
  if #raw > 4194304 then raw = string.sub(raw, 1, 65536) end
  local entry = { 'id', id, 'code', code, 'reason', reason, 'worker', dead.by, 'request', raw }
  if history then
    entry[11], entry[12] = 'history', history
  end
  local most, most_bytes = string.match(dead.max, '^(%d+) ?(%d*)$')
  local added = redis.call('XADD', dead.key, 'MAXLEN', '~', most, '*', unpack(entry))
  undo('XDEL', dead.key, added)
  redis.call('XTRIM', dead.key, 'MINID', '~', string.format('%.0f', now_ms() - dead.age))
  redis.call('PEXPIRE', dead.key, dead.age)
  keep_within(dead.key, tonumber(most_bytes), added, #raw + #reason + #(history or ''))
end

-- What is announced at the end: channel, id and frame of each pushed answer. The notification is
-- made here, from answers whose fence held, and nowhere else.
local told, telling = {}, 0

local function tell(channel, id, frame)
  told[telling + 1], told[telling + 2], told[telling + 3] = channel, id, frame
  telling = telling + 3
end

-- Another value may lie at the response key. It must not keep the request from its end; the answer
-- is then dead-lettered.
local function push(key, frame, ttl, channel, id)
  local pushed = redis.pcall('RPUSH', key, frame)
  if type(pushed) == 'table' then
    -- A right that is missing is missing for the dead letters, too, and comes back.
    if string.sub(pushed.err, 1, 9) ~= 'WRONGTYPE' then error(pushed.err, 0) end
    return dead_letter(frame, id, 'invalid_request', 'something else than a list lies at its response key')
  end
  undo('RPOP', key)
  redis.call('PEXPIRE', key, ttl)
  weigh(key, size_at(key, pushed, #frame))
  if channel then tell(channel, id, frame) end
end

-- A frame as it is told to a channel that was told so many bytes: one that is large, or one too
-- many, is only named. How many it was told then.
local function short(frame, id, size)
  if #frame > 8192 or size + #frame > 262144 then frame = '"' .. id .. '"' end
  return frame, size + #frame
end

local function announce()
  local notes = {}
  for at = 1, telling, 3 do
    local channel, id, frame = told[at], told[at + 1], told[at + 2]
    local note = notes[channel]
    if not note then
      note = { size = 0, count = 0 }
      notes[channel] = note
    end
    frame, note.size = short(frame, id, note.size)
    note.count = note.count + 1
    note[note.count] = frame
  end
  telling = 0
  for channel, note in pairs(notes) do
    -- May be forbidden to this user; the keys are the truth.
    redis.pcall('SPUBLISH', channel, '[' .. table.concat(note, ',') .. ']')
  end
end
