-- Purpose: the records of requests that were started more than once; part of other scripts.
-- KEYS: none of its own; the key of the hash `attempts` is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per record, whose runs are bounded.

-- attempt: number of the last run that was started; fails, crashes: number of runs with that end.
local function recall(attempts, id)
  local text = redis.call('HGET', attempts, id)
  if text then return cjson.decode(text) end
  return { attempt = 0, fails = 0, crashes = 0 }
end

-- Adds a run to a record, which keeps the first and the last 19.
local function add_run(record, run)
  local runs = record.runs or {}
  if #runs >= 20 then table.remove(runs, 2) end
  runs[#runs + 1] = run
  record.runs = runs
end

local function remember(attempts, id, record)
  local before = redis.call('HGET', attempts, id)
  redis.call('HSET', attempts, id, cjson.encode(record))
  if before then
    undo('HSET', attempts, id, before)
  else
    undo('HDEL', attempts, id)
  end
  redis.call('PEXPIRE', attempts, 2592000000)
end
