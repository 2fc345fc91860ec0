-- Purpose: read dead letters of one queue, one after the other, no more of them than one command
--   should carry. A letter may have megabytes, so that a number alone bounds nothing.
-- KEYS: 1 dead (stream)
-- ARGV: 1 where to begin and 2 where to end: id of an entry, '-' or '+'; with '(' in front the
--   entry itself is left out; 3 '1' to read the newest first, else '0'; 4 how many at most, 5 how
--   many bytes
-- Returns: {entries, whole}. entries: as XRANGE returns them; the first in any case. whole: 1 if
--   nothing lies beyond them, 0 if something may.
-- Derived keys: none.
-- Cost: O(entries * entries of a node of the stream).
local read = ARGV[3] == '1' and 'XREVRANGE' or 'XRANGE'
local from, most, max_bytes = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local entries, bytes = {}, 0

while #entries < most do
  -- By one, since what is read is copied before it can be counted.
  local entry = redis.call(read, KEYS[1], from, ARGV[2], 'COUNT', 1)[1]
  if not entry then return { entries, 1 } end
  for _, text in ipairs(entry[2]) do bytes = bytes + #text end
  if #entries > 0 and bytes > max_bytes then break end
  entries[#entries + 1] = entry
  from = '(' .. entry[1]
end
return { entries, 0 }
