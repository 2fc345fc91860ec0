-- Purpose: count the nodes of a list, by which the sizes of its first elements follow; part of the
--   scripts that read elements of other programs.
-- KEYS: none of its own; the list is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1).

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
