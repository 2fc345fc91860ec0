-- Purpose: say that a monitored job starts, before its handler does.
-- KEYS: 1 leases (hash) of the worker, 2 states of the job (stream, and channel)
-- ARGV: 1 request id, 2 number of the run, 3 worker id, 4 TTL of the states (ms), 5 '1' if it was
--   asked before and the reply was lost, else '0'
-- Returns: 1 it is said, 0 the lease is gone: nothing was
-- Derived keys: none.
-- Cost: O(1).
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local fields = { 'status', 'Processing', 'attempt', ARGV[2], 'worker', ARGV[3] }
if ARGV[5] == '1' then
  local last = redis.pcall('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
  -- Said by then, though its reply was lost.
  if last[1] and table.concat(last[1][2], ' ') == table.concat(fields, ' ') then return 1 end
end
note_status(KEYS[2], ARGV[4], fields)
return 1
