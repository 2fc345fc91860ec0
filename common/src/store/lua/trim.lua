-- Purpose: drop what a reader of a stream has had, but for the last frame of that: so the key
--   stays, and says to others where the stream is. Safe beside other readers, who trim as well.
-- KEYS: 1 response key
-- ARGV: 1 attempt and 2 seq of the last frame that was read
-- Returns: {attempt, seq} of the first frame that lies there now; an empty list where none does
-- Derived keys: none.
-- Cost: O(frames that are dropped).
local attempt, seq = tonumber(ARGV[1]), tonumber(ARGV[2])

-- What is no frame was not written by a worker, and counts as older than all.
local function place_of(frame)
  local at, of = string.match(frame,
    '^{"id":"[%w_-]+","response_key":"[^"]*","type":"%l+","seq":(%d+),"attempt":(%d+)')
  if not at then
    local ok, read = pcall(cjson.decode, frame)
    if ok and type(read) == 'table' then at, of = read.seq, read.attempt end
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
    -- Frames are gapless within an attempt.
    redis.call('LTRIM', KEYS[1], string.format('%.0f', seq - at), -1)
  end
end
