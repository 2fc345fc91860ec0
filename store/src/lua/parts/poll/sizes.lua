-- Purpose: estimate how many elements of a list are small, before reading them; part of the scripts
--   of a poll, in a function with nodes.lua: a poll that takes one element needs neither.
-- KEYS: none of its own; the list is passed in.
-- ARGV: none of its own.
-- Returns: the function.
-- Derived keys: none.
-- Cost: O(1), and O(its nodes) for a list of up to 4,096 elements.

-- Returns how many of the first `count` elements of a list of that `length` have at most this
-- number of bytes in all, if more than one; 0 if unknown.
local function known_small(key, count, length, bytes)
  if length <= 4096 and redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) <= bytes then
    return count
  end
  local nodes = nodes_of(key)
  for _ = 1, 3 do
    -- The average of the first nodes, times the number of all. Each node has at least one element.
    local sample = redis.call('MEMORY', 'USAGE', key, 'SAMPLES', string.format('%d', count))
    local size = sample / nodes * count
    if size <= bytes then return count end
    count = math.floor(count * bytes / size)
    if count < 2 then break end
  end
  return 0
end

return known_small
