-- Purpose: the records of requests that were started more than once; part of scripts that need it.
-- KEYS: none of its own; the key of the hash `history` is handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per record, whose runs are bounded.

-- attempt: number of the last run that began; fails, crashes: how many of the runs ended so.
local function recall(history, id)
  local text = redis.call('HGET', history, id)
  if text then return cjson.decode(text) end
  return { attempt = 0, fails = 0, crashes = 0 }
end

-- Adds a run to a record: the first and the last 19 are kept.
local function add_run(record, run)
  local runs = record.runs or {}
  if #runs >= 20 then table.remove(runs, 2) end
  runs[#runs + 1] = run
  record.runs = runs
end

local function remember(history, id, record)
  local before = redis.call('HGET', history, id)
  redis.call('HSET', history, id, cjson.encode(record))
  if before then
    undo('HSET', history, id, before)
  else
    undo('HDEL', history, id)
  end
  redis.call('PEXPIRE', history, 2592000000)
end
