-- Purpose: dead-letter elements over the limit of a request, in lane_poll.lua: the last part of a
--   function of it that creates the functions needed for that. Most polls need none.
-- KEYS: of lane_poll.lua.
-- ARGV: of lane_poll.lua.
-- Returns: a function that takes popped elements, and refuses those over the limit.
-- Derived keys: those of refusal.lua.
-- Cost: O(1) per element.
return function(raws)
  for i = 1, #raws do
    if #raws[i] > max_request then refuse_unreadable(KEYS[1], raws[i], KEYS[4]) end
  end
  noted = 0
end
