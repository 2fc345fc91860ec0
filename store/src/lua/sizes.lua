-- Purpose: tell how many elements of a list are small, before they are read; part of the scripts of
--   a poll, behind poll_common.lua.
-- KEYS: none of its own; the list is handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1), and O(its nodes) for a list of up to 4,096 elements.

-- How many bytes of elements are read together. Redis needs 2 ms for each MiB, and no command tells
-- how large an element of a list is.
local TOGETHER = 4194304

-- How many nodes a list has: Redis tells the size of the first one times their number, and an
-- element of over 8 KiB has a node of its own. This is no change of the list: neither replicas nor
-- the append-only file get it.
local function nodes_of(key)
  local filler = '<8,200 blanks>' -- Rust puts them there: Lua would take 20 us to make them
  redis.set_repl(redis.REPL_NONE)
  local pushed = redis.pcall('LPUSH', key, filler)
  local size = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', 1)
  -- The element must not stay, whatever this user may not run.
  local trimmed = type(pushed) == 'number' and redis.pcall('LTRIM', key, 1, -1)
  if trimmed and trimmed.err then redis.pcall('LPOP', key) end
  redis.set_repl(redis.REPL_ALL)
  -- What an allocator makes of 8,200 bytes, at most: rather too few nodes than too many.
  return tonumber(size) / 10400 - 1
end

-- How many of the first `count` elements of a list of that `length` are no more than so many bytes,
-- and more than one: 0 if that is not known.
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

-- Whether another element may be read whose size is not known, after so many bytes.
local function has_room(bytes)
  return bytes == 0 or bytes + math.min(max_request, max_bytes / 2) <= max_bytes
end
