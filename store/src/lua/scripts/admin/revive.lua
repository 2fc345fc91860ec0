-- Purpose: put dead letters back into their queue as new requests. Concurrent calls put a letter
--   back once: it leaves the dead letters in the same step.
-- KEYS: 1 dead (stream), 2 queue list, 3 cancelled (zset), 4 schedule (zset), 5 limited
--   names (hash), 6 parked names (set), 7 deferred (zset)
-- ARGV: 1 maximum length of the queue (0: no cap); then per letter: id of its entry, id of the
--   request, its new envelope
-- Returns: one character per letter: 'R' it is at the tail of the queue; 'G' gone, another process
--   has taken it; 'F' the queue is full, the letter remains.
-- Derived keys: parked:<name> of the parked names; status:<id> of the requests.
-- Cost: O(letters * log tombstones).
-- First: this fails if a key has another type, and Redis does not undo a script that fails midway.
redis.call('LLEN', KEYS[2])
redis.call('XLEN', KEYS[1])
local left = room(tonumber(ARGV[1]), KEYS[2], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
local results, base = {}, string.match(KEYS[2], '^(.*):queue$')

local GONE = 'it is gone'

-- Stores before it removes, one letter at a time: a full Redis holds at most one letter twice.
local function move(entry, envelope)
  redis.call('RPUSH', KEYS[2], envelope)
  undo('RPOP', KEYS[2])
  if redis.call('XDEL', KEYS[1], entry) == 0 then error(GONE, 0) end
end

-- A retried request runs even if it was cancelled before. If it is tracked and its end is still
-- known, it is pending again.
local function begin_again(id)
  redis.call('ZREM', KEYS[3], id)
  local states = base .. ':status:' .. id
  local left_ms = redis.call('PTTL', states)
  if left_ms > 0 then note_status(states, left_ms, 'Pending', ',"attempt":0') end
end

for i = 2, #ARGV, 3 do
  local result = 'F'
  if left > 0 then
    local ok, problem = attempt(move, ARGV[i], ARGV[i + 2])
    noted = 0
    if not ok and problem ~= GONE then return redis.error_reply(text_of(problem)) end
    result = ok and 'R' or 'G'
    if ok then
      left = left - 1
      attempt(begin_again, ARGV[i + 1])
      noted = 0
    end
  end
  results[#results + 1] = result
end
return table.concat(results)
