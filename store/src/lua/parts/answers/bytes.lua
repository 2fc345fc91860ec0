-- Purpose: keep a stream within a number of bytes of Redis's memory; part of the scripts that add
--   to one, or trim one.
-- KEYS: none of its own; the stream is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(nodes of the stream) per measurement: on average one per 64th of the limit.

-- Trims a stream to less than `max` bytes, the oldest entries first. The newest entry stays.
local function cut_back(key, max)
  for _, share in ipairs({ 64, 32, 16, 8, 4, 2, 1, 1 }) do
    -- Measured, not counted: other commands trim and delete entries too.
    local used = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')
    if type(used) ~= 'number' or used <= max then return end
    local length = redis.call('XLEN', key)
    if length < 2 then return end
    redis.call('XTRIM', key, 'MAXLEN', math.max(1, length - math.ceil(length / share)))
  end
end

-- Called after the entry `id` of `size` bytes was added. Measures once per 64th of the limit on
-- average, by a random draw from the entry's id, which is unique and needs no key.
local function keep_within(key, max, id, size)
  if not max or max == 0 then return end
  local drawn = tonumber(string.sub(redis.sha1hex(id), 1, 8), 16) / 4294967296
  if drawn * max < size * 64 then cut_back(key, max) end
end
