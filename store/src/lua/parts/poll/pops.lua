-- Purpose: bounded reads of a list, in steps that can be undone; part of poll.lua.
-- KEYS: of poll.lua; lists are passed in.
-- ARGV: of poll.lua.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per request.

-- Returns the results of this very poll, if it has already taken effect.
local function replay_reply(key)
  if ARGV[8] ~= '1' then return nil end
  local serial, reply = string.match(redis.call('GET', key) or '', '^(%S+) (%S*)$')
  return serial == ARGV[7] and reply or nil
end

-- Requests taken, requests sorted by the key of their limit, and bytes read by this script.
local seen, sorted, bytes = 0, 0, 0

-- Notes the undo of elements that were popped just now, and counts their bytes.
local function note_popped(key, raws)
  undo(function()
    for i = #raws, 1, -1 do redis.pcall('LPUSH', key, raws[i]) end
  end)
  for i = 1, #raws do bytes = bytes + #raws[i] end
end

-- Puts the elements from `first` on back into the list from which this step popped them.
local function put_back(key, raws, first)
  for i = #raws, first, -1 do
    redis.call('LPUSH', key, raws[i])
    undo('LPOP', key)
    bytes = bytes - #raws[i]
  end
end

-- Takes up to `count` elements from the head of a list of that `length`: several, if they are known
-- to be small, else one. Notes the undo.
local function pop(key, count, length)
  count = math.min(count, length, 250)
  if count > 1 then
    -- May be forbidden to this user: then elements are popped one by one.
    local ok, small = pcall(known_small, key, count, length, math.min(max_bytes - bytes, TOGETHER))
    count = ok and small > 1 and small or 1
  end
  if count == 1 and not has_room(bytes) then return {} end
  local raws = redis.call('LPOP', key, string.format('%d', count)) or {}
  local before = bytes
  note_popped(key, raws)
  -- An element that would exceed the limit of a poll goes back; but an oversized one is read once.
  if before > 0 and bytes > max_bytes and #raws[1] <= max_request then
    put_back(key, raws, 1)
    return {}
  end
  return raws
end

-- Returns a command's reply, or nil: an error is noted, and earlier steps stay valid.
local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if notes[1] ~= '' then return end
  local command, key = ...
  notes[1] = reply.err .. '; ' .. command .. ' ' .. key
end

-- Set by the script. Called after each step, with false if its leases were undone.
local after_step

-- Runs a step of leasing: it leases all of its elements, or none; then the error is noted. Returns
-- how many elements it took.
local function lease_step(step, ...)
  if notes[1] ~= '' or scanned > MAX_SCANNED then return 0 end
  local before = bytes
  local ok, result = pcall(step, ...)
  if not ok then undo_from(0) end
  noted = 0
  after_step(ok)
  if ok then return result end
  notes[1], bytes = text_of(result), before
  return 0
end

-- Leases an element that a blocked pop has moved: it belongs to this worker, with or without
-- capacity. One per poll: a pop moves one, and nothing tells the sizes of others.
local function pop_inbox(accept)
  local raws = redis.call('LPOP', KEYS[2], '1') or {}
  note_popped(KEYS[2], raws)
  return accept(KEYS[2], raws, math.huge)
end

-- Takes from the head of a list until `up_to` requests are taken. Returns how many elements are
-- left. A refused element uses no capacity, but it stops after a hundred.
local function take_list(key, up_to, accept)
  local left = ask('LLEN', key) or 0
  local function step(count)
    return accept(key, pop(key, count, left), up_to)
  end
  while left > 0 and seen < up_to and sorted < 1000 and #notes <= 100 do
    -- As many as were sorted may be read beyond the capacity.
    local many = lease_step(step, up_to - seen + sorted)
    if many == 0 then break end
    left = left - many
  end
  return left
end
