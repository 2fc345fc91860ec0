-- Purpose: a poll as that of poll.lua, where nothing is paused, cancelled, limited, parked or was
--   run before: most polls are so, and half of what such a one would cost is asking. At
--   full load this script is what Redis does all day: it has few functions, and these share few
--   variables, since making a function takes a search for each of them.
-- KEYS: 1 queue list, 2 inbox list, 3 leases (hash), 4 live (hash), 5 dead (stream), 6 workers
--   (zset), 7 poll of this worker (string); what must not be there: 8 paused (string), 9 attempts
--   (hash), 10 cancelled (zset), 11 permits (hash), 12 limited names (hash), 13 parked names (set);
--   then starts (strings) of outcomes of signed requests
-- ARGV: 1 to 9 as in poll_common.lua, but 2 is -1 if nothing is leased, not even what lies in the inbox,
--   and -2 if the length of the queue is not asked for either; 10 count S of outcomes, at most
--   1,000; S ids; then runs of outcomes in the order of the ids: ttl (ms; 0: nobody asked), channel
--   (empty: none), count C, and C frames if somebody asked; then per start: number of its outcome,
--   until when its id is remembered (Redis ms)
-- Returns: {results, length, {id, raw, ...}, notes, read} as poll.lua; or 0, and nothing was
--   settled or leased: it takes poll.lua
-- Derived keys: response:<id> of the outcomes; answers of the queue; those of refusal.lua.
-- Cost: O(outcomes + taken), and that of reading elements as in poll.lua.
if take >= 0 then
  local alive = redis.call('ZSCORE', KEYS[6], worker)
  if not alive or tonumber(alive) <= now_ms() then
    -- Its worker may stand still behind a blocked pop, and not come to call poll.lua.
    while redis.call('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT') do end
    return 0
  end
end
if redis.call('EXISTS', unpack(KEYS, 8, 13)) > 0 then return 0 end
local rare -- the functions of unusual.lua, once they are needed

-- Settling ------------------------------------------------------------------------------------

-- Pushes the answers, then ends the leases; how many these were. Adds to `pushed` how many answers
-- have to be taken back if this fails, and to `notices` what each channel is told.
local function settle(count, pushed, notices)
  local at, from, told, prefix = 11 + count, 0, {}, base .. ':response:'
  while from < count do
    local ttl, channel, many = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    local first, last = at + 3, at + 2
    if ttl ~= '0' then
      last = last + many
      local behind, largest, total = first - 11 - from, 0, told[channel] or 0
      for i = first, last do
        local frame = ARGV[i]
        local key, size = prefix .. ARGV[i - behind], #frame
        local frames = redis.call('RPUSH', key, frame)
        pushed[1] = pushed[1] + 1
        redis.call('PEXPIRE', key, ttl)
        weigh(key, frames > 2 and size_at(key, frames, size) or size)
        total = total + size
        if size > largest then largest = size end
      end
      if channel ~= '' then
        local frames
        if largest <= 8192 and total <= 262144 then
          told[channel], frames = total, table.concat(ARGV, ',', first, last)
        else
          rare = rare or unusual()
          frames, told[channel] = rare.shorten(first, last, behind, told[channel] or 0)
        end
        notices[channel] = notices[channel] and notices[channel] .. ',' .. frames or frames
      end
    end
    at, from = last + 1, from + many
  end
  -- Behind the fence the live ids have to be readable. With one outcome it tells all by itself.
  if count > 1 then redis.call('HMGET', KEYS[4], ARGV[11]) end
  -- The fence: as many leases as outcomes.
  return redis.call('HDEL', KEYS[3], unpack(ARGV, 11, 10 + count))
end

local count, results = tonumber(ARGV[10]), ''
if count > 0 then
  local pushed, notices = { 0 }, {}
  local ok, found = pcall(settle, count, pushed, notices)
  if ok and found == count then
    redis.pcall('HDEL', KEYS[4], unpack(ARGV, 11, 10 + count))
    results = string.rep('1', count)
  else
    rare = rare or unusual()
    results, notices = rare.sort_out(count, pushed[1], ok and found or 0), {}
    if not results then return 0 end
  end
  -- A signed request that has ended runs no more, whatever else is said of it.
  for i = 14, #KEYS do
    local which = #ARGV + 2 * (i - #KEYS) - 1
    if string.byte(results, tonumber(ARGV[which])) == 49 then
      redis.pcall('SET', KEYS[i], 'ended', 'XX', 'PXAT', ARGV[which + 1])
    end
  end
  for channel, frames in pairs(notices) do
    -- May be forbidden to this user; the keys are the truth.
    redis.pcall('SPUBLISH', channel, '[' .. frames .. ']')
  end
  redis.pcall('SET', KEYS[7], ARGV[7] .. ' ' .. results, 'PX', '60000')
end
if take == -2 then return { results, -1, {}, false, 0 } end

-- Leasing -------------------------------------------------------------------------------------

local leased, size, bytes, full, length, more = {}, 0, 0, false, nil, false

if take >= 0 then
  -- Leases elements that were popped; how many were dealt with: the others have to go back.
  local function lease(raws)
    local many, own, first = #raws, holder(worker), size
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

  -- Pops up to `count` elements and leases them: all of it, or nothing. How many it took off the
  -- list.
  local function lease_step(key, count)
    local raws = redis.pcall('LPOP', key, count)
    if not raws then return 0 end
    if raws.err then
      notes[1] = raws.err
      return 0
    end
    local first, before = size, bytes
    for i = 1, #raws do bytes = bytes + #raws[i] end
    local ok, many = true, 0
    -- One that would go over the bound goes back; but one over the limit is read once.
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

  -- What a blocked pop has moved is this worker's already, room or not: two at a time, since there
  -- is one, as a rule.
  local tries = 32
  while lease_step(KEYS[2], '2') == 2 and notes[1] == '' and not full do
    tries = tries - 1
    more = tries == 0 or not has_room(bytes)
    if more then break end
  end
  more = more or full or notes[1] ~= ''

  -- Until `take` requests are leased. An element that is refused takes no place, but a hundred of
  -- them are enough.
  local left, known = 1, take - size / 2 > 1
  if known then left = redis.pcall('LLEN', KEYS[1]) end
  if type(left) == 'table' then left, known = 0, false end
  while take > size / 2 and left > 0 and notes[1] == '' and not full and #notes <= 100 do
    local wanted = math.min(take - size / 2, left, 250)
    if wanted > 1 then
      -- May be forbidden to this user: then they come one by one.
      local most = math.min(max_bytes - bytes, TOGETHER)
      local ok, small = pcall(known_small, KEYS[1], wanted, left, most)
      wanted = ok and small > 1 and small or 1
    end
    if wanted == 1 and not has_room(bytes) then break end
    local many = lease_step(KEYS[1], string.format('%d', wanted))
    if many == 0 then break end
    left = left - many
    if left == 0 and not known and take > size / 2 then
      -- The only one was refused: the next may do.
      left, known = redis.pcall('LLEN', KEYS[1]), true
      if type(left) == 'table' then left, known = 0, false end
    end
  end
  if known and notes[1] == '' then length = left end
end

length = length or redis.pcall('LLEN', KEYS[1])
if type(length) == 'table' then
  if notes[1] == '' then notes[1] = length.err end
  length = 0
end
-- What is left in the inbox is taken by the next poll, which goes out where there is something.
if more then length = math.max(length, 1) end
return { results, length, leased, told_notes(), bytes }
