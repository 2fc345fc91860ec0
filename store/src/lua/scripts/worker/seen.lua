-- Purpose: remember for at least 7 days that a signed request was started. When it ends,
--   poll_fast.lua or poll.lua record its end instead, until its signature expires.
-- KEYS: 1 its start (string)
-- ARGV: 1 the new record, 2 until when (Redis ms), 3 the expected old record (empty: none)
-- Returns: {code, text}: 1 and an empty text: it is remembered, also if it was by this very call,
--   whose reply was lost; 0 and the record that is stored instead, empty if there is none.
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
