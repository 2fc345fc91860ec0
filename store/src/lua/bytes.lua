-- Purpose: keep a stream within so many bytes of Redis's memory; part of the scripts that add to
--   one, or cut one back.
-- KEYS: none of its own; the stream is handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(nodes of the stream) for a look: of the entries, on average, one per 64th of the bound.

-- Cuts a stream back to less than `most` bytes, the oldest entries first. The newest entry stays.
local function cut_back(key, most)
  for _, share in ipairs({ 64, 32, 16, 8, 4, 2, 1, 1 }) do
    -- Measured, not counted: other commands trim and delete entries, too.
    local used = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')
    if type(used) ~= 'number' or used <= most then return end
    local length = redis.call('XLEN', key)
    if length < 2 then return end
    redis.call('XTRIM', key, 'MAXLEN', math.max(1, length - math.ceil(length / share)))
  end
end

-- After the entry `id` of `size` bytes was added. A look is due once per 64th of the bound, by a
-- draw that needs no key: ids of entries are never the same.
local function keep_within(key, most, id, size)
  if not most or most == 0 then return end
  local drawn = tonumber(string.sub(redis.sha1hex(id), 1, 8), 16) / 4294967296
  if drawn * most < size * 64 then cut_back(key, most) end
end
