-- Purpose: remove the frames that a stream's reader has read, except the last one: so the key
--   remains, and shows the stream's position. Safe with concurrent readers, which trim too.
-- KEYS: 1 response key
-- ARGV: 1 attempt and 2 seq of the last frame that was read
-- Returns: {attempt, seq} of the first remaining frame; an empty list if there is none
-- Derived keys: none.
-- Cost: O(removed frames).
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

while true do
  local first = redis.call('LINDEX', KEYS[1], 0)
  if not first then return {} end
  local of, at = place_of(first)
  if of > attempt or (of == attempt and at >= seq) then return { of, at } end
  if of < attempt then
    redis.call('LPOP', KEYS[1])
  else
    -- Sequence numbers have no gaps within an attempt.
    redis.call('LTRIM', KEYS[1], string.format('%.0f', seq - at), -1)
  end
end
