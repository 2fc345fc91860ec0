-- Purpose: remove the frames that a stream's reader has read, except the last one: so the key
--   remains, and shows the stream's position. Safe with concurrent readers, which trim too.
-- KEYS: 1 response key
-- ARGV: 1 attempt and 2 seq of the last frame that was read, 3 the largest frame that is read here
--   (bytes)
-- Returns: {attempt, seq} of the first remaining frame; an empty list if there is none, or if it is
--   not known, since reading it would exceed 1.5 times the largest
-- Derived keys: none.
-- Cost: O(removed frames), 2 ms per MiB of frames that begin an attempt or that no worker wrote.
local attempt, seq = tonumber(ARGV[1]), tonumber(ARGV[2])

-- Returns the position of a frame. An element that is not a worker's frame counts as the oldest. It
-- is not decoded: its sender chose its size.
local function place_of(frame)
  local at, of = string.match(frame,
    '^{"id":"[%w_-]+","response_key":"[^"]*","type":"%l+","seq":(%d+),"attempt":(%d+)')
  if not at then
    local head = string.sub(frame, 1, 4096)
    local function number(name)
      local place = string.byte(head) == 123 and find_field(head, 1, name)
      return place and literal_at(head, place)
    end
    at, of = number('seq'), number('attempt')
  end
  return tonumber(of) or 0, tonumber(at) or 0
end

-- Returns the size of the list's first node, which is the first element if that is large.
local function first_size()
  return redis.call('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', '1') / nodes_of(KEYS[1])
end

-- The number of bytes of frames that one call reads. Sizes are estimated up to 1.3 times too high.
local MAX_BYTES = tonumber(ARGV[3]) * 1.5

-- A short list needs no further check. Without the right to measure, frames are read as they are.
local used = redis.pcall('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', '0')
local is_long = type(used) == 'number' and used > MAX_BYTES
local bytes = 0
while true do
  if is_long then
    local ok, size = pcall(first_size)
    if ok and bytes + size > MAX_BYTES then return {} end
  end
  local first = redis.call('LINDEX', KEYS[1], 0)
  if not first then return {} end
  bytes = bytes + #first
  local of, at = place_of(first)
  if of > attempt or (of == attempt and at >= seq) then return { of, at } end
  -- Without a reply that has the frames. Sequence numbers have no gaps within an attempt.
  local read = of < attempt and 1 or seq - at
  redis.call('LTRIM', KEYS[1], string.format('%.0f', read), -1)
end
