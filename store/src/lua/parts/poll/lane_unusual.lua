-- Purpose: the unusual cases of lane_poll.lua: the last part of a function of it that creates all
--   functions needed for these. Most polls need none.
-- KEYS: of lane_poll.lua.
-- ARGV: of lane_poll.lua.
-- Returns: a table of functions.
-- Derived keys: those of refusal.lua.
-- Cost: O(1) per element or frame.
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

-- Dead-letters the popped elements over the limit. Returns the others.
function rare.refuse_large(raws)
  local small = {}
  for i = 1, #raws do
    if #raws[i] > max_request then
      refuse_unreadable(KEYS[1], raws[i], KEYS[4])
    else
      small[#small + 1] = raws[i]
    end
  end
  noted = 0
  return small
end

return rare
