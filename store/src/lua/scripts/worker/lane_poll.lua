-- Purpose: settle a lane inbox whose requests have all ended, then fill it again: a lane's poll
--   while requests wait. An element in a lane inbox is its own lease, so that a request moves once,
--   and no other key is written for it.
-- KEYS: 1 queue list, 2 lane inbox (list), 3 its poll record (string), 4 live (hash), 5 dead
--   (stream), 6 workers (zset); keys that must not exist: 7 paused (string), 8 attempts (hash), 9
--   cancelled (zset), 10 permits (hash), 11 limited names (hash), 12 parked names (set)
-- ARGV: 1 to 9 as in poll_common.lua, but 2 is 0 to settle only, 7 is what the reply answers
--   (number of the inbox and serial, each with a space after it), and 8 is not used; 10 count S of
--   outcomes, at most 1,000; S ids; then runs of outcomes in the order of the ids: ttl (ms; 0: no
--   answer), channel (empty: none), count C, and C frames if there is an answer
-- Returns: {answers, length, {raw, ...}, notes, read}. answers: ARGV 7 and the results of all
--   outcomes, one character each: '1' settled, '0' the inbox is empty: its requests were taken
--   over, 'E' it has other elements, or a command failed: nothing has changed, and nothing was
--   taken. length: of the queue afterwards; -1: the queue is paused or has more than plain
--   requests, so poll.lua has to take them; -2: the worker's own lease has ended; -3: not requested
--   for, or the inbox was not empty. Then the requests that are in the inbox now. notes, read: as
--   in poll.lua.
-- Derived keys: response:<id> of the outcomes; answers of the queue; those of refusal.lua.
-- Cost: O(outcomes + taken), and that of reading elements as in poll_fast.lua.
local count, results, pushed, keys = tonumber(ARGV[10]), '', 0, { nil }
local rare -- the functions of lane_unusual.lua, created when first needed

-- Pushes the answers, then empties the inbox. Adds to `notices` the frames to publish per channel.
local function settle(notices)
  local at, from, sent_bytes, prefix = 11 + count, 0, {}, base .. ':response:'
  while from < count do
    local ttl, channel, many = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    local first, last = at + 3, at + 2
    if ttl ~= '0' then
      last = last + many
      local shift, largest, total = first - 11 - from, 0, sent_bytes[channel] or 0
      for i = first, last do
        local frame = ARGV[i]
        local key, size = prefix .. ARGV[i - shift], #frame
        local frames = redis.call('RPUSH', key, frame)
        pushed = pushed + 1
        keys[pushed] = key
        redis.call('PEXPIRE', key, ttl)
        weigh(key, size, frames)
        total = total + size
        if size > largest then largest = size end
      end
      if channel ~= '' then
        local frames
        if largest <= 8192 and total <= 262144 then
          frames = table.concat(ARGV, ',', first, last)
        else
          rare = rare or unusual()
          frames, total = rare.shorten(first, last, shift, sent_bytes[channel] or 0)
        end
        sent_bytes[channel] = total
        notices[channel] = notices[channel] and notices[channel] .. ',' .. frames or frames
      end
    end
    at, from = last + 1, from + many
  end
  redis.call('DEL', KEYS[2])
end

local held = redis.pcall('LLEN', KEYS[2])
if type(held) == 'table' then
  notes[1], held = held.err .. '; LLEN ' .. KEYS[2], -1
end
local empty = held == 0
if count > 0 then
  -- The fence: the requests that have ended are all of its elements.
  local code, notices = held == count and '1' or held == 0 and '0' or 'E', {}
  if code == '1' then
    local ok, problem = pcall(settle, notices)
    if ok then
      empty = true
      redis.pcall('SET', KEYS[3], ARGV[7] .. string.rep('1', count), 'PX', '60000')
      for channel, frames in pairs(notices) do
        -- May be forbidden to this user; the keys are authoritative.
        redis.pcall('SPUBLISH', channel, '[' .. frames .. ']')
      end
    else
      notes[2] = tostring(type(problem) == 'table' and problem.err or problem)
      for i = pushed, 1, -1 do
        local popped = redis.pcall('RPOP', keys[i])
        -- For users without the right to the first.
        if type(popped) == 'table' then redis.pcall('LTRIM', keys[i], 0, -2) end
      end
      code = 'E'
    end
  end
  results = string.rep(code, count)
end
results = ARGV[7] .. results

-- Returns the reply, without notes if all are empty.
local function reply(length, raws, bytes)
  local has_notes = #notes > 2 or notes[1] ~= '' or notes[2] ~= ''
  return { results, length, raws, has_notes and notes, bytes }
end

if take == 0 or not empty then return reply(-3, {}, 0) end

-- Taking --------------------------------------------------------------------------------------

-- Returns why nothing may be taken; nil if it may.
local function closed()
  local alive = redis.call('ZSCORE', KEYS[6], worker)
  if not alive or tonumber(alive) <= now_ms() then return -2 end
  if redis.call('EXISTS', unpack(KEYS, 7, 12)) > 0 then return -1 end
end

-- The inbox is settled: an error must not end the script.
local checked, reason = pcall(closed)
if not checked then
  notes[1], reason = tostring(type(reason) == 'table' and reason.err or reason), -1
end
if reason then return reply(reason, {}, 0) end

local raws, bytes, left, known_small = {}, 0, redis.pcall('LLEN', KEYS[1]), nil
if type(left) == 'table' then
  notes[1], left = left.err .. '; LLEN ' .. KEYS[1], 0
end
while left > 0 and #raws == 0 and #notes <= 100 and notes[1] == '' do
  local wanted = math.min(take, left, 250)
  if wanted > 1 then
    -- May be forbidden to this user: then one element is popped.
    known_small = known_small or sizes()
    local max = math.min(max_bytes - bytes, TOGETHER)
    local ok, small = pcall(known_small, KEYS[1], wanted, left, max)
    wanted = ok and small > 1 and small or 1
  end
  if bytes > room_limit and bytes > 0 then break end
  local number = wanted == 1 and '1' or string.format('%d', wanted)
  local popped = redis.pcall('LPOP', KEYS[1], number)
  if not popped or popped.err then
    notes[1] = popped and popped.err .. '; LPOP ' .. KEYS[1] or ''
    break
  end
  local largest = 0
  for i = 1, #popped do
    local size = #popped[i]
    bytes = bytes + size
    if size > largest then largest = size end
  end
  local ok, small = true, popped
  if largest > max_request then
    -- No worker may read these.
    rare = rare or unusual()
    ok, small = pcall(rare.refuse_large, popped)
  end
  if ok and #small > 0 then
    local stored = redis.pcall('RPUSH', KEYS[2], unpack(small))
    ok = type(stored) == 'number'
    raws, small = ok and small or {}, stored
  end
  if not ok then
    -- An element that was refused may be twice, but none is lost.
    notes[1] = tostring(type(small) == 'table' and small.err or small)
    for i = #popped, 1, -1 do redis.pcall('LPUSH', KEYS[1], popped[i]) end
  end
  left = redis.pcall('LLEN', KEYS[1])
  if type(left) == 'table' then left = 0 end
end
return reply(left, raws, bytes)
