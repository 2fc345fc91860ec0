-- Purpose: estimate how many elements of a list are small, before reading them; part of the scripts
--   of a poll, after poll_common.lua and nodes.lua.
-- KEYS: none of its own; the list is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1), and O(its nodes) for a list of up to 4,096 elements.

-- The maximum number of bytes that are read together. Redis needs 2 ms for each MiB, and no command
-- returns the size of a list's element.
local TOGETHER = 4194304

-- The maximum number of elements that go back from an inbox in one script, in addition to their
-- bytes.
local MOST_RETURNED = 1000

-- The length of a queue that is only known not to be empty.
local UNCOUNTED = 1000000000

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

-- Returns true if another element of unknown size may be read after this number of bytes.
local function has_room(bytes)
  return bytes == 0 or bytes + math.min(max_request, max_bytes / 2) <= max_bytes
end
