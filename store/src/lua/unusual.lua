-- Purpose: what poll_fast.lua does in unusual cases: the last part of a function of it that makes all
--   functions needed for these. A script makes each of its functions anew at every call, and most
--   polls need none of them.
-- KEYS: of poll_fast.lua.
-- ARGV: of poll_fast.lua.
-- Returns: a table of functions.
-- Derived keys: those of refusal.lua.
-- Cost: O(outcomes) for sort_out, else O(1) per element or frame.
local own, rare = holder(worker), {}

-- The frames from the `first` to the `last`, as they are told to a channel, and how many bytes it
-- was told then. The id of each is in ARGV so far `before` it.
function rare.shorten(first, last, before, told)
  local frames = {}
  for at = first, last do
    frames[at - first + 1], told = short(ARGV[at], ARGV[at - before], told)
  end
  return table.concat(frames, ','), told
end

-- Calls `act` for each outcome whose answer was pushed: with its number, frame and channel.
local function each_pushed(count, pushed, act)
  local at, from = 11 + count, 0
  while from < count and pushed > 0 do
    local channel, many = ARGV[at + 1], tonumber(ARGV[at + 2])
    if ARGV[at] ~= '0' then
      for i = 1, math.min(many, pushed) do act(from + i, ARGV[at + 2 + i], channel) end
      pushed, at = pushed - many, at + many
    end
    at, from = at + 3, from + many
  end
end

-- The second command is for a user who may not run the first one.
local function withdraw(number)
  local key = base .. ':response:' .. ARGV[10 + number]
  local popped = redis.pcall('RPOP', key)
  if type(popped) == 'table' then redis.pcall('LTRIM', key, 0, -2) end
end

-- Some leases are missing: of `count` outcomes the fence has found so many. Those are gone, and the
-- live ids tell which these were. The others' answers are withdrawn, before anybody can read them,
-- and the rest are announced. Returns the results; or nil: the fence found none, and all is as
-- before.
function rare.sort_out(count, pushed, found)
  if found == 0 then return each_pushed(count, pushed, withdraw) end
  local holders = redis.call('HMGET', KEYS[4], unpack(ARGV, 11, 10 + count))
  local ended, results = {}, {}
  for i = 1, count do
    local id = ARGV[10 + i]
    local owned = holders[i] == own and not ended[id]
    ended[id], results[i] = true, owned and '1' or '0'
    if owned then redis.pcall('HDEL', KEYS[4], id) end
  end
  each_pushed(count, pushed, function(number, frame, channel)
    if results[number] == '0' then
      withdraw(number)
    elseif channel ~= '' then
      tell(channel, ARGV[10 + number], frame)
    end
  end)
  announce()
  return table.concat(results)
end

-- The id of an element if it is leased, else nil: it was moved to the dead letters. True as a
-- second value: it has to go back to its list, since enough was looked at.
function rare.judge(raw)
  if scanned > MOST_SCANNED then return nil, true end
  return make_live(KEYS[1], raw, KEYS[4], own)
end

-- Ends a step of leasing; takes its refusals back if it failed.
function rare.finish(ok)
  if not ok then take_back(0) end
  noted = 0
end

return rare
