-- Purpose: push a frame that does not end its request, while the worker still holds the lease.
-- KEYS: 1 leases (hash) of the worker, 2 response key, 3 channel (optional)
-- ARGV: 1 request id, 2 frame, 3 TTL of the response key (ms), 4 maximum number of unread frames
-- Returns: 1 pushed (or pushed before by this very call, whose reply was lost), 0 the lease is
--   lost, -1 too many unread frames: retry later
-- Derived keys: none.
-- Cost: O(1).
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
-- Compared by Redis: the last element may be of any size.
if redis.call('LPOS', KEYS[2], ARGV[2], 'RANK', '-1', 'MAXLEN', '1') then return 1 end
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[4]) then return -1 end
local pushed, problem = attempt(function()
  redis.call('RPUSH', KEYS[2], ARGV[2])
  undo('RPOP', KEYS[2])
  -- Never shorter than the TTL that a submitting client has set.
  if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[3]) then
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
  end
end)
if not pushed then return redis.error_reply(text_of(problem)) end
if KEYS[3] then
  local text = ARGV[2]
  if #text > 8192 then text = '"' .. ARGV[1] .. '"' end
  redis.pcall('SPUBLISH', KEYS[3], '[' .. text .. ']')
end
return 1
