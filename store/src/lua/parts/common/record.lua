-- Purpose: the records of requests that were started more than once; part of other scripts.
-- KEYS: none of its own; the key of the hash `attempts` is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per record, whose runs are bounded.

-- Returns the record of a request, and its text; false if it has none yet. attempt: number of the
-- last run that was started; fails, crashes: number of runs with that end.
local function recall(attempts, id)
  local text = redis.call('HGET', attempts, id)
  if text then return cjson.decode(text), text end
  return { attempt = 0, fails = 0, crashes = 0 }, false
end

-- Adds a run to a record, which keeps the first and the last 19.
local function add_run(record, run)
  local runs = record.runs or {}
  if #runs >= 20 then table.remove(runs, 2) end
  runs[#runs + 1] = run
  record.runs = runs
end

-- Stores a record; `before` is its text until now. Sets the TTL of all, unless this script has.
local function remember(attempts, id, record, before, has_ttl)
  redis.call('HSET', attempts, id, cjson.encode(record))
  if before then
    undo('HSET', attempts, id, before)
  else
    undo('HDEL', attempts, id)
  end
  if not has_ttl then redis.call('PEXPIRE', attempts, '2592000000') end
end
