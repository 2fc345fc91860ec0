-- Purpose: lease requests that were popped in the same step; part of poll.lua, after pops.lua.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per request.

-- Id, element and mark of each leased request; `kept` of these entries are from earlier steps.
local taken, count, kept = {}, 0, 0
local own = holder(worker)
-- Id and element of each request that this step has leased, and the number of these entries;
-- `stored` is true once they are stored.
local leases, leased, stored = {}, 0, false

-- Undoes all leases of a step: a note for each would cost more than its commands.
local function end_leases()
  for i = 1, leased, 2 do
    redis.pcall('HDEL', KEYS[4], leases[i])
    if stored then redis.pcall('HDEL', KEYS[3], leases[i]) end
  end
end

-- Leases a request. Returns its id, or nil.
local function lease(raw)
  local id = make_live(KEYS[1], raw, KEYS[4], own)
  if not id then return nil end
  if leased == 0 then undo(end_leases) end
  leases[leased + 1], leases[leased + 2] = id, raw
  leased = leased + 2
  taken[count + 1], taken[count + 2], taken[count + 3] = id, raw, ''
  count = count + 3
  return id
end

-- Of limited names (sorted.lua): the number of entries of `moved` in this step; true if a rate
-- throttles a key, and until when (ms) the first.
local moves, throttles, due = 0, false, 0

function after_step(ok)
  if not ok then count = kept end
  seen, kept, moves = seen + (count - kept) / 3, count, 0
  leased, stored = 0, false
end

-- Reads the marks of the requests that were leased in this step.
local function mark()
  local ids = {}
  for i = 1, leased, 2 do ids[(i + 1) / 2] = leases[i] end
  local records = has_history and redis.call('HMGET', KEYS[11], unpack(ids))
  local cancelled = has_cancelled and redis.call('ZMSCORE', KEYS[12], unpack(ids))
  for i = 1, #ids do
    taken[kept + 3 * i] = cancelled and cancelled[i] and 'C' or records and records[i] or ''
  end
end

-- Stores the leases of this step.
local function keep()
  if leased == 0 then return end
  redis.call('HSET', KEYS[3], unpack(leases, 1, leased))
  stored = true
  if has_history or has_cancelled then mark() end
end
