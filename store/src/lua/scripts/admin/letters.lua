-- Purpose: read dead letters of one queue, one by one, up to a size that one command should return.
--   A letter may have megabytes, so that a number alone bounds nothing.
-- KEYS: 1 dead (stream)
-- ARGV: 1 first and 2 last entry: id of an entry, '-' or '+'; a leading '(' excludes the entry; 3
--   '1' to read the newest first, else '0'; 4 maximum number of entries, 5 of bytes
-- Returns: {entries, whole}. entries: as XRANGE returns them, at least the first. whole: 1 if there
--   are none beyond them, 0 if there may be.
-- Derived keys: none.
-- Cost: O(entries * entries of a node of the stream).
local read = ARGV[3] == '1' and 'XREVRANGE' or 'XRANGE'
local from, max, max_bytes = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local entries, bytes = {}, 0

while #entries < max do
  -- One by one: an entry is copied before its size is known.
  local entry = redis.call(read, KEYS[1], from, ARGV[2], 'COUNT', 1)[1]
  if not entry then return { entries, 1 } end
  for _, text in ipairs(entry[2]) do bytes = bytes + #text end
  if #entries > 0 and bytes > max_bytes then break end
  entries[#entries + 1] = entry
  from = '(' .. entry[1]
end
return { entries, 0 }
