-- Purpose: remember for 7 days at least that a signed request was started. When it ends, poll_fast.lua
--   or poll.lua write that instead, until its signature ends.
-- KEYS: 1 its start (string)
-- ARGV: 1 what is remembered from now on, 2 until when (Redis ms), 3 what has to lie there (empty:
--   nothing)
-- Returns: {code, text}: 1 and an empty text: it is remembered, also if it was by this very call,
--   whose reply was lost; 0 and what lies there instead, empty if nothing does.
-- Derived keys: none.
-- Cost: O(1).
local before
if ARGV[3] == '' then
  before = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'PXAT', ARGV[2])
  if not before or before == ARGV[1] then return { 1, '' } end
else
  before = redis.call('GET', KEYS[1])
  if before == ARGV[1] then return { 1, '' } end
  if before == ARGV[3] then
    redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
    return { 1, '' }
  end
end
return { 0, before or '' }
