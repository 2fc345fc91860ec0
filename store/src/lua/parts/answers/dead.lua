-- Purpose: write dead letters; part of the scripts that end requests, after bytes.lua.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per dead letter; O(nodes of the dead letters) for some, see bytes.lua.

-- The destination of dead letters: key, limits ("<entries> <bytes>"; bytes 0: no limit), age (ms)
-- and worker. The script sets it before it writes one.
local dead = {}

local function dead_letter(raw, id, code, reason, history)
  -- An element far over any limit is stored in part: dead letters are for operators.
  if #raw > 4194304 then raw = string.sub(raw, 1, 65536) end
  local entry = { 'id', id, 'code', code, 'reason', reason, 'worker', dead.by, 'request', raw }
  if history then
    entry[11], entry[12] = 'history', history
  end
  local max_entries, dead_bytes = string.match(dead.max, '^(%d+) ?(%d*)$')
  local added = redis.call('XADD', dead.key, 'MAXLEN', '~', max_entries, '*', unpack(entry))
  undo('XDEL', dead.key, added)
  redis.call('XTRIM', dead.key, 'MINID', '~', string.format('%.0f', now_ms() - dead.age))
  redis.call('PEXPIRE', dead.key, dead.age)
  keep_within(dead.key, tonumber(dead_bytes), added, #raw + #reason + #(history or ''))
end
