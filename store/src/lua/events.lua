-- Purpose: read a topic from a position on, and say how many events it has had in all: whoever
--   follows it knows by that how many were let go before it came to read them.
-- KEYS: 1 events (stream)
-- ARGV: 1 id of the last entry that was read, or '$' to read nothing; how many entries (2) and
--   how many bytes (3) at most
-- Returns: {top, added, length, first, entries, whole}. top: id of the newest entry that there
--   was; added: how many there were; length: how many lie there; first: id of the oldest of
--   them; entries: as XRANGE returns them; whole: whether nothing lies beyond them. Without the
--   stream all of it is nothing.
-- Derived keys: none.
-- Cost: O(entries * entries of a node of the stream).
if redis.call('EXISTS', KEYS[1]) == 0 then return { '0-0', 0, 0, '0-0', {}, 1 } end

local about = {}
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for field = 1, #info, 2 do about[info[field]] = info[field + 1] end
local top, first = about['last-generated-id'], about['first-entry']
local entries, bytes, whole = {}, 0, 1

if ARGV[1] ~= '$' then
  local from, most, max_bytes = '(' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
  while true do
    -- By one, since what is read is copied before it can be counted.
    local entry = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)[1]
    if not entry then break end
    for _, text in ipairs(entry[2]) do bytes = bytes + #text end
    if #entries == most or (#entries > 0 and bytes > max_bytes) then
      whole = 0
      break
    end
    entries[#entries + 1] = entry
    from = '(' .. entry[1]
  end
end
return { top, about['entries-added'], about['length'], first and first[1] or '0-0', entries, whole }
