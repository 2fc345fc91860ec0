-- Purpose: what both scripts of a worker's turn share: its first arguments, the bounded reading of
--   a list, the reading of an id; part of plain.lua and cycle.lua, behind answers.lua and scan.lua.
-- KEYS: of the script it is part of: 5 dead (stream).
-- ARGV: of the script it is part of: 1 worker id, 2 how many requests to take at most, 3 how many
--   bytes, 4 dead letters to keep, 5 their age (ms), 6 base of the queue's keys, 7 serial of the
--   turn, 8 '1' if it was sent before and its reply was lost, 9 the largest request (bytes)
-- Returns: nothing.
-- Derived keys: response:<id> of a request that is too large.
-- Cost: O(1) per request.
local worker, take, max_bytes, base = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[6]
local max_request = tonumber(ARGV[9])
dead.key, dead.max, dead.age, dead.by = KEYS[5], ARGV[4], tonumber(ARGV[5]), worker

-- What went wrong while leasing, and while settling: the text of an error, or empty; then the code
-- of each element that was refused here.
local notes = { '', '' }

-- The notes as they are returned: false where there is nothing to say, which is most often.
local function told_notes()
  return (#notes > 2 or notes[1] ~= '' or notes[2] ~= '') and notes
end

-- What this very turn said, if it has taken effect already.
local function said_before(key)
  if ARGV[8] ~= '1' then return nil end
  local serial, said = string.match(redis.call('GET', key) or '', '^(%S+) (%S*)$')
  return serial == ARGV[7] and said or nil
end

local function id_of(raw)
  local head = #raw > 4096 and string.sub(raw, 1, 4096) or raw
  local id = string.match(head, '^%s*{%s*"id"%s*:%s*"([%w_-]+)"')
  if not id then id = string.match(text_field(raw, 'id') or '', '^[%w_-]+$') end
  return id and #id <= 64 and id
end

-- Why an element is refused that could have been leased.
local LIVE_ID = 'a live request of this queue has the same id'

-- Moves an element that cannot be leased to the dead letters. Where these cannot be written it goes
-- to the tail of the queue: it must neither be lost nor keep the others.
local function refuse(queue, raw, id, code, reason)
  notes[#notes + 1] = code
  local ok, problem = attempt(bury, raw, id, code, reason)
  if ok then return end
  notes[1] = text_of(problem)
  redis.call('RPUSH', queue, raw)
  undo('RPOP', queue)
end

-- The error frame of a request that is too large, if its caller waits: its response key is found by
-- looking at both ends.
local function answer_oversize(raw, id, reason)
  local key = base .. ':response:' .. id
  local quoted = '"' .. key .. '"'
  if string.find(string.sub(raw, 1, 4096), quoted, 1, true)
    or string.find(string.sub(raw, -4096), quoted, 1, true)
  then
    push(key, '{"id":"' .. id .. '","response_key":' .. quoted .. ',"type":"error","seq":1,'
      .. '"attempt":1,"error":{"code":"too_large","message":"' .. reason .. '"}}',
      '600000', nil, id)
  end
end

-- Refuses an element without an id, or over the limit: of that the dead letter has the first
-- 64 KiB. It is read once.
local function refuse_unreadable(queue, raw, live)
  if #raw <= max_request then
    return refuse(queue, raw, '', 'invalid_request',
      'not a JSON object with an `id` of 1 to 64 of [A-Za-z0-9_-] in its first 4 KiB')
  end
  local id = id_of(raw)
  local reason = string.format('the request has %d bytes, the limit is %d (limits.request)',
    #raw, max_request)
  refuse(queue, string.sub(raw, 1, 65536), id or '', 'too_large', reason)
  if id and redis.call('HEXISTS', live, id) == 0 then answer_oversize(raw, id, reason) end
end

-- Bounded reading -------------------------------------------------------------------------------

-- How many bytes of elements are read together. Redis needs 2 ms for each MiB, and no command tells
-- how large an element of a list is.
local TOGETHER = 4194304

-- How many nodes a list has: Redis tells the size of the first one times their number, and an
-- element of over 8 KiB has a node of its own. This is no change of the list: neither replicas nor
-- the append-only file get it.
local function nodes_of(key)
  redis.set_repl(redis.REPL_NONE)
  local pushed = redis.pcall('LPUSH', key, string.rep(string.rep(' ', 100), 82))
  local size = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', 1)
  -- The element must not stay, whatever this user may not run.
  local trimmed = type(pushed) == 'number' and redis.pcall('LTRIM', key, 1, -1)
  if trimmed and trimmed.err then redis.pcall('LPOP', key) end
  redis.set_repl(redis.REPL_ALL)
  -- What an allocator makes of 8,200 bytes, at most: rather too few nodes than too many.
  return tonumber(size) / 10400 - 1
end

-- How many of the first `count` elements of a list of that `length` are no more than so many bytes,
-- and more than one: 0 if that is not known.
local function known_small(key, count, length, bytes)
  if length <= 4096 and redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) <= bytes then
    return count
  end
  local nodes = nodes_of(key)
  for _ = 1, 3 do
    -- The average of the first nodes, times the number of all. Each node has at least one element.
    local sample = redis.call('MEMORY', 'USAGE', key, 'SAMPLES', string.format('%d', count))
    local size = sample / nodes * count
    if size <= bytes then return count end
    count = math.floor(count * bytes / size)
    if count < 2 then break end
  end
  return 0
end

-- Requests taken, requests sorted by the key of their limit, and bytes read by this script.
local seen, sorted, bytes = 0, 0, 0

-- Whether another element may be read whose size is not known.
local function has_room()
  return bytes == 0 or bytes + math.min(max_request, max_bytes / 2) <= max_bytes
end

-- Notes how elements that were popped just now go back, and counts their bytes.
local function note_popped(key, raws)
  undo(function()
    for i = #raws, 1, -1 do redis.pcall('LPUSH', key, raws[i]) end
  end)
  for i = 1, #raws do bytes = bytes + #raws[i] end
end

-- Puts the elements from the `first` on back, which were popped in this step.
local function put_back(key, raws, first)
  for i = #raws, first, -1 do
    redis.call('LPUSH', key, raws[i])
    undo('LPOP', key)
    bytes = bytes - #raws[i]
  end
end

-- Takes up to `count` elements from the head of a list of that `length`: several, if they are known
-- to be small, else one. Notes how they go back.
local function pop(key, count, length)
  count = math.min(count, length, 250)
  if count > 1 then
    -- May be forbidden to this user: then they come one by one.
    local ok, small = pcall(known_small, key, count, length, math.min(max_bytes - bytes, TOGETHER))
    count = ok and small > 1 and small or 1
  end
  if count == 1 and not has_room() then return {} end
  local raws = redis.call('LPOP', key, string.format('%d', count)) or {}
  local before = bytes
  note_popped(key, raws)
  -- One that would go over the bound goes back; but one over the limit is read once.
  if before > 0 and bytes > max_bytes and #raws[1] <= max_request then
    put_back(key, raws, 1)
    return {}
  end
  return raws
end

-- What a command says, or nil: its failure is noted, and does not keep what has been done already.
local function ask(...)
  local said = redis.pcall(...)
  if type(said) ~= 'table' or not said.err then return said end
  if notes[1] == '' then notes[1] = said.err end
end

-- How many brackets and strings are looked at, but for those of one element.
local MOST_SCANNED = 20000

-- Set by the script: whether the requests count that the last step has leased.
local after_step

-- Runs a step of leasing: it leases what it takes, or takes nothing; then the reason is noted. How
-- many elements it took.
local function lease_step(step, ...)
  if notes[1] ~= '' or scanned > MOST_SCANNED then return 0 end
  local before = bytes
  local ok, result = attempt(step, ...)
  noted = 0
  after_step(ok)
  if ok then return result end
  notes[1], bytes = text_of(result), before
  return 0
end

-- What a blocked pop has moved is this worker's already, room or not: two at a time, since there is
-- one, as a rule. Whether some are left.
local function take_inbox(key, accept)
  local function step()
    local raws = redis.call('LPOP', key, '2') or {}
    note_popped(key, raws)
    return accept(key, raws, math.huge)
  end
  for _ = 1, 32 do
    if lease_step(step) < 2 then return notes[1] ~= '' or scanned > MOST_SCANNED end
    if not has_room() then return true end
  end
  return true
end

-- Takes from the head of a list until `up_to` requests are taken; how many elements are left. An
-- element that is refused takes no place, but a hundred of them are enough.
local function take_list(key, up_to, accept)
  local left = ask('LLEN', key) or 0
  local function step(count)
    return accept(key, pop(key, count, left), up_to)
  end
  while left > 0 and seen < up_to and sorted < 1000 and #notes <= 100 do
    -- As many as were sorted may be looked at beyond what can be taken.
    local many = lease_step(step, up_to - seen + sorted)
    if many == 0 then break end
    left = left - many
  end
  return left
end
