-- Purpose: read a topic from a position on, and count the events ever added: a subscriber computes
--   from it how many were trimmed before it read them.
-- KEYS: 1 events (stream)
-- ARGV: 1 id of the last entry read, or '$' to read none; maximum number of entries (2) and bytes
--   (3)
-- Returns: {top, added, length, first, entries, whole}. top: id of the newest entry ever; added:
--   number of entries ever added; length: number of stored entries; first: id of the oldest of
--   them; entries: as XRANGE returns them; whole: set if there are no entries beyond them. Without
--   the stream all of these are zero or empty.
-- Derived keys: none.
-- Cost: O(entries * entries of a node of the stream).
if redis.call('EXISTS', KEYS[1]) == 0 then return { '0-0', 0, 0, '0-0', {}, 1 } end

local about = {}
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for field = 1, #info, 2 do about[info[field]] = info[field + 1] end
local top, first = about['last-generated-id'], about['first-entry']
local entries, bytes, whole = {}, 0, 1

if ARGV[1] ~= '$' then
  local from, max, max_bytes = '(' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
  while true do
    -- One by one: an entry is copied before its size is known.
    local entry = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)[1]
    if not entry then break end
    for _, text in ipairs(entry[2]) do bytes = bytes + #text end
    if #entries == max or (#entries > 0 and bytes > max_bytes) then
      whole = 0
      break
    end
    entries[#entries + 1] = entry
    from = '(' .. entry[1]
  end
end
return { top, about['entries-added'], about['length'], first and first[1] or '0-0', entries, whole }
