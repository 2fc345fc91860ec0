-- Purpose: record the start of a tracked job, before its handler runs.
-- KEYS: 1 leases (hash) of the worker, 2 states of the job (list, and channel)
-- ARGV: 1 request id, 2 number of the run, 3 worker id, 4 TTL of the states (ms), 5 '1' if it was
--   sent before and the reply was lost, else '0'
-- Returns: 1 recorded, 0 the lease is lost: nothing was recorded
-- Derived keys: none.
-- Cost: O(1).
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local fields = ',"attempt":' .. ARGV[2] .. ',"worker":"' .. ARGV[3] .. '"'
if ARGV[5] == '1' then
  local last = redis.pcall('LRANGE', KEYS[2], -1, -1)[1]
  -- The earlier call has recorded it, though its reply was lost.
  if last and string.sub(last, -#fields - 1) == fields .. '}' then return 1 end
end
note_status(KEYS[2], ARGV[4], 'Processing', fields)
return 1
