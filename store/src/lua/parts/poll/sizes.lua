-- Purpose: estimate how many elements of a list are small, before reading them; part of the scripts
--   of a poll, after poll_common.lua.
-- KEYS: none of its own; the list is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1), and O(its nodes) for a list of up to 4,096 elements.

-- The maximum number of bytes that are read together. Redis needs 2 ms for each MiB, and no command
-- returns the size of a list's element.
local TOGETHER = 4194304

-- Returns the number of nodes of a list: Redis reports the size of the first node times their
-- number, and an element of over 8 KiB has its own node. The change is temporary: neither replicas
-- nor the append-only file get it.
local function nodes_of(key)
  local filler = '<8,200 blanks>' -- Rust inserts them: Lua would take 20 us to build them
  redis.set_repl(redis.REPL_NONE)
  local pushed = redis.pcall('LPUSH', key, filler)
  local size = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', 1)
  -- The element must be removed, even if this user lacks rights.
  local trimmed = type(pushed) == 'number' and redis.pcall('LTRIM', key, 1, -1)
  if trimmed and trimmed.err then redis.pcall('LPOP', key) end
  redis.set_repl(redis.REPL_ALL)
  -- The maximum that an allocator uses for 8,200 bytes: too few nodes are safer than too many.
  return tonumber(size) / 10400 - 1
end

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
