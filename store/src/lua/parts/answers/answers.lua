-- Purpose: push answers and their notifications; part of the scripts that end requests, after
--   steps.lua, kept.lua and a function `dead_letter`.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: answers of the queue.
-- Cost: O(1) per request.

-- The notifications of the settled requests: channel, id and frame of each pushed answer. Only this
-- code publishes answers, and only if their lease was still held.
local outbox, outbox_size = { nil, nil, nil }, 0

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
  weigh(key, #frame, pushed)
  if channel then
    outbox[outbox_size + 1], outbox[outbox_size + 2], outbox[outbox_size + 3] = channel, id, frame
    outbox_size = outbox_size + 3
  end
end

-- Returns a frame as published on a channel that already has `size` bytes, and the new size: if the
-- frame is large or the channel has enough, only its id is published.
local function short(frame, id, size)
  if #frame > 8192 or size + #frame > 262144 then frame = '"' .. id .. '"' end
  return frame, size + #frame
end

local function announce()
  if outbox_size == 3 then
    -- As below, without tables: most polls of an idle worker have one.
    outbox_size = 0
    return redis.pcall('SPUBLISH', outbox[1], '[' .. short(outbox[3], outbox[2], 0) .. ']')
  end
  local notes = {}
  for at = 1, outbox_size, 3 do
    local channel, id, frame = outbox[at], outbox[at + 1], outbox[at + 2]
    local note = notes[channel]
    if not note then
      note = { nil, size = 0, count = 0 }
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
