-- Purpose: a poll as in poll.lua, if no request is paused, cancelled, limited, parked or was run
--   before: most polls are such, and half of their cost in poll.lua is checks. At full load Redis
--   mainly runs this script: it has few functions with few shared variables, since creating a
--   function takes a search for each of them.
-- KEYS: 1 queue list, 2 inbox list, 3 leases (hash), 4 live (hash), 5 dead (stream), 6 workers
--   (zset), 7 poll of this worker (string); keys that must not exist: 8 paused (string), 9 attempts
--   (hash), 10 cancelled (zset), 11 permits (hash), 12 limited names (hash), 13 parked names (set);
--   then starts (strings) of outcomes of signed requests
-- ARGV: 1 to 9 as in poll_common.lua, but 2 is -1 to lease nothing, not even from the inbox, and -2
--   if the length of the queue is not requested either; 10 count S of outcomes, at most 1,000; S
--   ids; then runs of outcomes in the order of the ids: ttl (ms; 0: no answer), channel (empty:
--   none), count C, and C frames if there is an answer; then per start: number of its outcome,
--   until when its id is remembered (Redis ms)
-- Returns: {results, length, {id, raw, ...}, notes, read} as poll.lua; or 0: it settled and leased
--   nothing, and the poll needs poll.lua
-- Derived keys: response:<id> of the outcomes; answers of the queue; those of refusal.lua.
-- Cost: O(outcomes + taken), and that of reading elements as in poll.lua.
if take >= 0 then
  local alive = redis.call('ZSCORE', KEYS[6], worker)
  if not alive or tonumber(alive) <= now_ms() then
    -- Its worker may be stalled behind a blocked pop, and never call poll.lua.
    local moved = 0
    for _ = 1, MAX_RETURNED do
      local raw = moved < TOGETHER and redis.call('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT')
      if not raw then break end
      moved = moved + #raw
    end
    return 0
  end
end
if redis.call('EXISTS', unpack(KEYS, 8, 13)) > 0 then return 0 end
local rare -- the functions of unusual.lua, created when first needed

-- Settling ------------------------------------------------------------------------------------

-- Pushes the answers, then ends the leases. Returns the number of ended leases. Adds to `pushed`
-- the number of answers to undo on failure, and to `notices` the frames to publish per channel.
local function settle(count, pushed, notices)
  local at, from, sent_bytes, prefix = 11 + count, 0, {}, base .. ':response:'
  while from < count do
    local ttl, channel, many = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    local first, last = at + 3, at + 2
    if ttl ~= '0' then
      last = last + many
      local offset, largest, total = first - 11 - from, 0, sent_bytes[channel] or 0
      for i = first, last do
        local frame = ARGV[i]
        local key, size = prefix .. ARGV[i - offset], #frame
        local frames = redis.call('RPUSH', key, frame)
        pushed[1] = pushed[1] + 1
        redis.call('PEXPIRE', key, ttl)
        weigh(key, size, frames)
        total = total + size
        if size > largest then largest = size end
      end
      if channel ~= '' then
        local frames
        if largest <= 8192 and total <= 262144 then
          sent_bytes[channel], frames = total, table.concat(ARGV, ',', first, last)
        else
          rare = rare or unusual()
          frames, sent_bytes[channel] = rare.shorten(first, last, offset, sent_bytes[channel] or 0)
        end
        notices[channel] = notices[channel] and notices[channel] .. ',' .. frames or frames
      end
    end
    at, from = last + 1, from + many
  end
  -- After the fence the live ids have to be readable. One outcome needs no check.
  if count > 1 then redis.call('HMGET', KEYS[4], ARGV[11]) end
  -- The fence: all outcomes must have leases.
  return redis.call('HDEL', KEYS[3], unpack(ARGV, 11, 10 + count))
end

local count, results = tonumber(ARGV[10]), ''
if count > 0 then
  local pushed, notices = { 0 }, {}
  local ok, found = pcall(settle, count, pushed, notices)
  if ok and found == count then
    redis.pcall('HDEL', KEYS[4], unpack(ARGV, 11, 10 + count))
    results = count == 1 and '1' or string.rep('1', count)
  else
    rare = rare or unusual()
    results, notices = rare.sort_out(count, pushed[1], ok and found or 0), {}
    if not results then return 0 end
  end
  -- A signed request that has ended must not run again, whatever happens later.
  for i = 14, #KEYS do
    local which = #ARGV + 2 * (i - #KEYS) - 1
    if string.byte(results, tonumber(ARGV[which])) == 49 then
      redis.pcall('SET', KEYS[i], 'ended', 'XX', 'PXAT', ARGV[which + 1])
    end
  end
  for channel, frames in pairs(notices) do
    -- May be forbidden to this user; the keys are authoritative.
    redis.pcall('SPUBLISH', channel, '[' .. frames .. ']')
  end
  redis.pcall('SET', KEYS[7], ARGV[7] .. ' ' .. results, 'PX', '60000')
end
if take == -2 then return { results, -1, {}, false, 0 } end

-- Leasing -------------------------------------------------------------------------------------

local leased, size, bytes, full = { nil, nil }, 0, 0, false
local length, more, popped = nil, false, false

if take >= 0 then
  -- Leases elements that were popped. Returns how many were processed: the others have to go back.
  local function lease(raws)
    local many, first = #raws, size
    for i = 1, many do
      local raw = raws[i]
      local head = #raw > 4096 and string.sub(raw, 1, 4096) or raw
      local id = #raw <= max_request and string.match(head, '^%s*{%s*"id"%s*:%s*"([%w_-]+)"')
      if not id or #id > 64 or redis.call('HSETNX', KEYS[4], id, own) == 0 then
        rare = rare or unusual()
        id, full = rare.judge(raw)
        if full then
          many = i - 1
          break
        end
      end
      if id then
        leased[size + 1], leased[size + 2] = id, raw
        size = size + 2
      end
    end
    if size > first then redis.call('HSET', KEYS[3], unpack(leased, first + 1, size)) end
    return many
  end

  -- Pops up to `count` elements and leases all of them, or none. Returns how many it took off the
  -- list.
  local function lease_step(key, count)
    local raws = redis.pcall('LPOP', key, count)
    if not raws then return 0 end
    if raws.err then
      notes[1] = raws.err .. '; LPOP ' .. key
      return 0
    end
    local first, before = size, bytes
    for i = 1, #raws do bytes = bytes + #raws[i] end
    local ok, many = true, 0
    -- An element that would exceed the limit of a poll goes back; but an oversized one is read
    -- once.
    if before == 0 or bytes <= max_bytes or #raws[1] > max_request then
      ok, many = pcall(lease, raws)
      if rare then rare.finish(ok) end
    end
    if not ok then
      notes[1] = tostring(type(many) == 'table' and many.err or many)
      for at = size - 1, first + 1, -2 do
        redis.pcall('HDEL', KEYS[4], leased[at])
        leased[at], leased[at + 1] = nil, nil
      end
      size, many = first, 0
    end
    for i = #raws, many + 1, -1 do
      redis.pcall('LPUSH', key, raws[i])
      bytes = bytes - #raws[i]
    end
    return many
  end

  -- An element that a blocked pop has moved belongs to this worker, with or without capacity. One
  -- per poll: a pop moves one, and nothing shows the sizes of others.
  popped = lease_step(KEYS[2], '1') > 0
  more = full or notes[1] ~= ''

  -- Until `take` requests are leased. A refused element uses no capacity, but stop after a hundred.
  local left, known, known_small = 1, take - size / 2 > 1, nil
  if known then left = redis.pcall('LLEN', KEYS[1]) end
  if type(left) == 'table' then left, known = 0, false end
  while take > size / 2 and left > 0 and notes[1] == '' and not full and #notes <= 100 do
    local wanted = math.min(take - size / 2, left, 250)
    if wanted > 1 then
      -- May be forbidden to this user: then elements are popped one by one.
      known_small = known_small or sizes()
      local max = math.min(max_bytes - bytes, TOGETHER)
      local ok, small = pcall(known_small, KEYS[1], wanted, left, max)
      wanted = ok and small > 1 and small or 1
    end
    if wanted == 1 and bytes > room_limit and bytes > 0 then break end
    local many = lease_step(KEYS[1], wanted == 1 and '1' or string.format('%d', wanted))
    if many == 0 then break end
    left = left - many
    if left == 0 and not known and take > size / 2 then
      -- The only one was refused: try the next.
      left, known = redis.pcall('LLEN', KEYS[1]), true
      if type(left) == 'table' then left, known = 0, false end
    end
  end
  if known and notes[1] == '' then length = left end
end

if popped then
  -- One command for both lists. The rest of the inbox is for the next polls.
  length = redis.pcall('EXISTS', KEYS[1], KEYS[2])
  if length ~= 0 and type(length) == 'number' then length = UNCOUNTED end
end
length = length or redis.pcall('LLEN', KEYS[1])
if type(length) == 'table' then
  if notes[1] == '' then notes[1] = length.err .. '; LLEN ' .. KEYS[1] end
  length = 0
end
-- The next poll goes on with the inbox: a length above 0 triggers it.
if more then length = math.max(length, 1) end
local has_notes = #notes > 2 or notes[1] ~= '' or notes[2] ~= ''
return { results, length, leased, has_notes and notes, bytes }
