-- Purpose: push answers and their notifications, and write dead letters; part of the scripts that
--   end requests.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: answers of the queue.
-- Cost: O(1) per request; O(nodes of the dead letters) for some dead letters, see bytes.lua.

-- The destination of dead letters: key, limits ("<entries> <bytes>"; bytes 0: no limit), age (ms)
-- and worker. The script sets it before it writes one.
local dead = {}

local function dead_letter(raw, id, code, reason, history)
  -- An element far over any limit is stored in part: dead letters are for operators.
  if #raw > 4194304 then raw = string.sub(raw, 1, 65536) end
  local entry = { 'id', id, 'code', code, 'reason', reason, 'worker', dead.by, 'request', raw }
  if history then
    entry[11], entry[12] = 'history', history
  end
  local max_entries, dead_bytes = string.match(dead.max, '^(%d+) ?(%d*)$')
  local added = redis.call('XADD', dead.key, 'MAXLEN', '~', max_entries, '*', unpack(entry))
  undo('XDEL', dead.key, added)
  redis.call('XTRIM', dead.key, 'MINID', '~', string.format('%.0f', now_ms() - dead.age))
  redis.call('PEXPIRE', dead.key, dead.age)
  keep_within(dead.key, tonumber(dead_bytes), added, #raw + #reason + #(history or ''))
end

-- The notifications of the settled requests: channel, id and frame of each pushed answer. Only this
-- code publishes answers, and only if their lease was still held.
local outbox, outbox_size = {}, 0

local function add_notice(channel, id, frame)
  outbox[outbox_size + 1], outbox[outbox_size + 2], outbox[outbox_size + 3] = channel, id, frame
  outbox_size = outbox_size + 3
end

-- The response key may have a value of another type. The request must still end, so its answer is
-- dead-lettered.
local function push(key, frame, ttl, channel, id)
  local pushed = redis.pcall('RPUSH', key, frame)
  if type(pushed) == 'table' then
    -- A missing right would also prevent the dead letter, so the error is raised again.
    if string.sub(pushed.err, 1, 9) ~= 'WRONGTYPE' then error(pushed.err, 0) end
    return dead_letter(frame, id, 'invalid_request', 'its response key is not a list')
  end
  undo('RPOP', key)
  redis.call('PEXPIRE', key, ttl)
  weigh(key, pushed > 2 and size_at(key, pushed, #frame) or #frame)
  if channel then add_notice(channel, id, frame) end
end

-- Returns a frame as published on a channel that already has `size` bytes, and the new size: if the
-- frame is large or the channel has enough, only its id is published.
local function short(frame, id, size)
  if #frame > 8192 or size + #frame > 262144 then frame = '"' .. id .. '"' end
  return frame, size + #frame
end

local function announce()
  local notes = {}
  for at = 1, outbox_size, 3 do
    local channel, id, frame = outbox[at], outbox[at + 1], outbox[at + 2]
    local note = notes[channel]
    if not note then
      note = { size = 0, count = 0 }
      notes[channel] = note
    end
    frame, note.size = short(frame, id, note.size)
    note.count = note.count + 1
    note[note.count] = frame
  end
  outbox_size = 0
  for channel, note in pairs(notes) do
    -- May be forbidden to this user; the keys are authoritative.
    redis.pcall('SPUBLISH', channel, '[' .. table.concat(note, ',') .. ']')
  end
end
