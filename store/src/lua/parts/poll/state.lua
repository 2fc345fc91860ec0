-- Purpose: the state of a poll, and the kinds of requests that its queue has; part of poll.lua, in
--   a function around all others: they share these variables.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1).

-- The order of these variables is about that in which the functions use them: then Lua finds each
-- at once when it creates the functions. Tables begin with space for one request's entries, since
-- each growth is a cost.

-- The functions of exceptions.lua, special.lua, settlements.lua and partitions.lua, created when
-- first needed; that of free.lua, if the queue has permits.
local limits, create_rare, rare, special, settlements, free

-- Id and element of each request that this step has leased, and the number of these entries;
-- `stored` is true once they are stored.
local leased, leases, stored = 0, { nil, nil }, false
-- The elements that this step has popped, their list, and how many of them are still off it.
local off, popped_from, popped = 0, nil, nil

-- Most polls have one of these, or none.
local has_parked, paused, has_history, has_cancelled = false, false, false, false
local has_permits, has_limited = false, false
local features = redis.call('EXISTS', KEYS[7], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14])
if features == 1 then
  -- Which one? A key counts each time that it is named.
  local which = redis.call('EXISTS', KEYS[11], KEYS[12], KEYS[12], KEYS[13], KEYS[13], KEYS[13])
  has_history, has_cancelled, has_permits = which == 1, which == 2, which == 3
  if which == 0 then
    which = redis.call('EXISTS', KEYS[7], KEYS[14], KEYS[14])
    has_parked, has_limited, paused = which == 1, which == 2, which == 0
  end
elseif features > 1 then
  has_parked = redis.call('EXISTS', KEYS[7]) == 1
  paused = redis.call('EXISTS', KEYS[10]) == 1
  has_history = redis.call('EXISTS', KEYS[11]) == 1
  has_cancelled = redis.call('EXISTS', KEYS[12]) == 1
  has_permits = redis.call('EXISTS', KEYS[13]) == 1
  has_limited = redis.call('EXISTS', KEYS[14]) == 1
end

-- The names whose keys may continue; true if the live ids of all outcomes could be read; the
-- permits of all outcomes by id, read together, or nil if each outcome reads its own; the ids of
-- the requests that ended.
local freed, live_read, permits, ended = {}, false, nil, { nil }
local LOST = 'the lease is gone'

-- Bytes read; then id, element and mark of each leased request, the number of these entries, and
-- how many of them are from earlier steps.
local bytes, taken, count, kept = 0, { nil, nil, nil }, 0, 0

-- Of limited names: the number of entries of `moved` in this step (partitions.lua), and of requests
-- that were partitioned; true if a rate throttles a key, and until when (ms) the first.
local moves, partitioned, throttles, due = 0, 0, false, 0

local function dead_letter(...)
  rare = rare or create_rare()
  return rare.dead_letter(...)
end
