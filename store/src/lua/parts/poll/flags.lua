-- Purpose: the kinds of requests that the queue of a poll has, and the permits of its outcomes;
--   part of poll.lua, after limits.lua.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per outcome.

local parked_count, limit_count = tonumber(ARGV[10]), tonumber(ARGV[11])
local outcome_count = tonumber(ARGV[12])

-- Most polls have none of these.
local paused, has_history, has_cancelled = false, false, false
local has_permits, has_limited = false, false
if redis.call('EXISTS', KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]) > 0 then
  paused = redis.call('EXISTS', KEYS[10]) == 1
  has_history = redis.call('EXISTS', KEYS[11]) == 1
  has_cancelled = redis.call('EXISTS', KEYS[12]) == 1
  has_permits = redis.call('EXISTS', KEYS[13]) == 1
  has_limited = redis.call('EXISTS', KEYS[14]) == 1
end

local ended, freed = {}, {}
local LOST = 'the lease is gone'

-- The ops after which the request runs again.
local RUNS_AGAIN = { back = true, rerun = true, retry = true, stale = true }

-- The permits of all outcomes by id, read together; nil if that failed: then each outcome reads its
-- own, and fails alone.
local permits = {}

local function permit_of(id)
  if permits then return permits[id] end
  return redis.call('HGET', KEYS[13], id)
end

local function free(id, permit)
  if not permit then return end
  local name = give_back(base, KEYS[13], id, permit)
  if name then freed[name] = true end
end
