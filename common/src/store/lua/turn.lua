-- Purpose: what both scripts of a worker's turn share: its first arguments, the reading of an id;
--   part of plain.lua and cycle.lua, behind answers.lua.
-- KEYS: of the script it is part of: 5 dead (stream).
-- ARGV: of the script it is part of: 1 worker id, 2 how many requests to take at most, 3 how many
--   bytes, 4 dead letters to keep, 5 their age (ms), 6 base of the queue's keys, 7 serial of the
--   turn, 8 '1' if it was sent before and its reply was lost
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per request.
local worker, take, max_bytes, base = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[6]
dead.key, dead.max, dead.age, dead.by = KEYS[5], ARGV[4], tonumber(ARGV[5]), worker

-- What this very turn said, if it has taken effect already.
local function said_before(key)
  if ARGV[8] ~= '1' then return nil end
  local serial, said = string.match(redis.call('GET', key) or '', '^(%S+) (%S*)$')
  return serial == ARGV[7] and said or nil
end

local function id_of(raw)
  local id = string.match(raw, '^%s*{%s*"id"%s*:%s*"([%w_-]+)"')
  if not id then
    local ok, request = pcall(cjson.decode, raw)
    if ok and type(request) == 'table' and type(request.id) == 'string' then
      id = string.match(request.id, '^[%w_-]+$')
    end
  end
  return id and #id <= 64 and id
end
