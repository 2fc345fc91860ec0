-- Purpose: settle a deferred request by its completion token: once, and before its deadline.
-- KEYS: 1 its record (hash)
-- ARGV: 1 id, 2 digest of the token, 3 name of the settler, 4 the final frame without its first two
--   fields, 5 error code (empty: it is an answer), 6 reason, for dead letters, 7 '1' if the end is
--   kept for later callers of the same call
-- Returns: 1 settled (also if it was by this very settle, whose reply was lost), 0 it was settled
--   before, -1 no such token, 2 its deadline has passed: it has ended with a timeout
-- Derived keys: those of deferred.lua.
-- Cost: O(log records), O(waiters of its call).
local id = ARGV[1]
local base = string.match(KEYS[1], '^(.*):deferred:')
local known = redis.call('HMGET', KEYS[1], 'token', 'by')
if known[1] ~= ARGV[2] then return -1 end
if known[2] then return known[2] == ARGV[3] and 1 or 0 end
return whole(function()
  local record = read_deferred(base, id)
  if tonumber(record.deadline) <= now_ms() then
    end_deferred(base, id, record, 'late', 'deadline_exceeded',
      'the deferred answer was not settled in time')
    announce()
    return 2
  end
  end_deferred(base, id, record, ARGV[4], ARGV[5], ARGV[6], ARGV[7] == '1')
  noted = 0
  announce()
  -- A second settlement returns 0.
  redis.pcall('HSET', KEYS[1], 'token', ARGV[2], 'by', ARGV[3])
  redis.pcall('PEXPIRE', KEYS[1], 600000)
  return 1
end)
