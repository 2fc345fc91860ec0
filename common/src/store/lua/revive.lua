-- Purpose: put dead letters back into the queue, each once however many ask for it.
-- KEYS: 1 dead (stream), 2 queue list, 3 schedule (zset), 4 limited names (hash)
-- ARGV: 1 longest length of the queue (0: no cap); then per letter: its place in the stream, the
--   envelope that is queued
-- Returns: {revived, left}. revived: how many were queued; those that were gone are not. left: how
--   many the queue had no room for, the last ones.
-- Derived keys: none.
-- Cost: O(letters).
local free = room(tonumber(ARGV[1]), KEYS[2], KEYS[3], KEYS[4])
local revived = 0
for i = 2, #ARGV, 2 do
  if revived >= free then return { revived, (#ARGV - i + 1) / 2 } end
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    redis.call('RPUSH', KEYS[2], ARGV[i + 1])
    revived = revived + 1
  end
end
return { revived, 0 }
