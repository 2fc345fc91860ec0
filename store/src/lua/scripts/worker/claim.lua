-- Purpose: before a leased request with an idempotency key starts: find out whether it is the call,
--   or joins one that runs or has ended. The caller may have queued it without this check.
-- KEYS: 1 leases (hash) of the worker, 2 idem record (hash), 3 cancelled (zset), 4 control
-- ARGV: 1 request id, 2 digest of its data, 3 deadline (Redis ms, 0: none), 4 TTL of the record
--   while it runs (ms), 5 its entry as waiter (see joined.lua; empty: no caller waits)
-- Returns: {code, text}: 'run' and the valid deadline (ms), 'joined' and the id that runs, 'ended'
--   and the tail of the final frame, 'conflict', 'too_many_waiters' (100 wait already), 'lost' (the
--   lease is lost).
-- Derived keys: response:<id> and status:<id> of callers that joined a cancelled call.
-- Cost: O(1), O(waiters) if a cancelled call begins again.
local id, digest, deadline = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HEXISTS', KEYS[1], id) == 0 then return { 'lost', '' } end

local function join()
  if ARGV[5] == '' then
    redis.call('HSET', KEYS[2], 'keep', '1')
  else
    redis.call('HSET', KEYS[2], 'w:' .. id, ARGV[5])
    undo('HDEL', KEYS[2], 'w:' .. id)
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end

return whole(function()
  local known = redis.call('HMGET', KEYS[2], 'id', 'digest', 'deadline', 'tail')
  local runs = known[1]
  -- A request with the id of the call that was pushed again after its end has ended too.
  if runs == id and not known[4] then return { 'run', known[3] } end
  local forgotten = runs and not known[4] and redis.call('ZSCORE', KEYS[3], runs)
  if not runs or (forgotten and tonumber(forgotten) > now_ms()) then
    if runs then end_cancelled(KEYS[2], runs, id) end
    noted = 0
    redis.call('HSET', KEYS[2], 'id', id, 'digest', digest, 'deadline', ARGV[3])
    undo('DEL', KEYS[2])
    join()
    return { 'run', ARGV[3] }
  end
  if known[2] ~= digest then return { 'conflict', '' } end
  if known[4] then return { 'ended', known[4] } end
  local waiting = redis.call('HLEN', KEYS[2]) - 3 - redis.call('HEXISTS', KEYS[2], 'keep')
  if waiting >= 100 and redis.call('HEXISTS', KEYS[2], 'w:' .. id) == 0 then
    return { 'too_many_waiters', '' }
  end
  join()
  local latest = tonumber(known[3])
  if latest ~= 0 and (deadline == 0 or deadline > latest) then
    redis.call('HSET', KEYS[2], 'deadline', ARGV[3])
    redis.pcall('SPUBLISH', KEYS[4], 'extend ' .. runs .. ' ' .. ARGV[3])
  end
  return { 'joined', runs }
end)
