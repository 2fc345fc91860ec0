-- Purpose: the unusual cases of poll_fast.lua: the last part of a function of it that creates all
--   functions needed for these. A script creates each of its functions at every call, and most
--   polls need none of these.
-- KEYS: of poll_fast.lua.
-- ARGV: of poll_fast.lua.
-- Returns: a table of functions.
-- Derived keys: those of refusal.lua.
-- Cost: O(outcomes) for sort_out, else O(1) per element or frame.
local rare = {}

-- Returns the frames from `first` to `last` as published on a channel, and the bytes that it then
-- has. The id of each frame is in ARGV `before` positions earlier.
function rare.shorten(first, last, before, sent_bytes)
  local frames = {}
  for at = first, last do
    frames[at - first + 1], sent_bytes = short(ARGV[at], ARGV[at - before], sent_bytes)
  end
  return table.concat(frames, ','), sent_bytes
end

-- Calls `act` for each outcome whose answer was pushed: with its number, frame and channel.
local function each_pushed(count, pushed, act)
  local at, from = 11 + count, 0
  while from < count and pushed > 0 do
    local channel, many = ARGV[at + 1], tonumber(ARGV[at + 2])
    if ARGV[at] ~= '0' then
      for i = 1, math.min(many, pushed) do act(from + i, ARGV[at + 2 + i], channel) end
      pushed, at = pushed - many, at + many
    end
    at, from = at + 3, from + many
  end
end

-- The second command is for users without the right to the first.
local function withdraw(number)
  local key = base .. ':response:' .. ARGV[10 + number]
  local popped = redis.pcall('RPOP', key)
  if type(popped) == 'table' then redis.pcall('LTRIM', key, 0, -2) end
end

-- Handles missing leases: of `count` outcomes the fence has found `found`. Their leases are gone
-- now, and the live ids show which they were. Removes the other outcomes' answers before a caller
-- can read them, and publishes the rest. Returns the results; or nil: the fence found none, and
-- nothing has changed.
function rare.sort_out(count, pushed, found)
  if found == 0 then return each_pushed(count, pushed, withdraw) end
  local holders = redis.call('HMGET', KEYS[4], unpack(ARGV, 11, 10 + count))
  local ended, results = {}, {}
  for i = 1, count do
    local id = ARGV[10 + i]
    local owned = holders[i] == own and not ended[id]
    ended[id], results[i] = true, owned and '1' or '0'
    if owned then redis.pcall('HDEL', KEYS[4], id) end
  end
  each_pushed(count, pushed, function(number, frame, channel)
    if results[number] == '0' then
      withdraw(number)
    elseif channel ~= '' then
      local at = outbox_size
      outbox[at + 1], outbox[at + 2], outbox[at + 3] = channel, ARGV[10 + number], frame
      outbox_size = at + 3
    end
  end)
  announce()
  return table.concat(results)
end

-- Returns the id of a leased element, or nil for one that was dead-lettered. A second value of
-- true: the element has to go back to its list, since the scan limit is reached.
function rare.judge(raw)
  if scanned > MAX_SCANNED then return nil, true end
  return make_live(KEYS[1], raw, KEYS[4], own)
end

-- Ends a step of leasing; undoes its refusals if it failed.
function rare.finish(ok)
  if not ok then undo_from(0) end
  noted = 0
end

return rare
