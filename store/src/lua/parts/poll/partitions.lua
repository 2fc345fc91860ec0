-- Purpose: partition requests of limited names by the key that their limit counts by, and draw from
--   the keys in rotation; part of poll.lua, in a function of its own, for polls with limited names.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: a table of functions.
-- Derived keys: limited:<name>:<key>, rotation:<name>, held:<name>, running:<name>:<key>,
--   rate:<name>:<key>, limit_keys:<name> of limited names.
-- Cost: O(1) per request.
local rules, order = {}, { nil }
for i = 1, tonumber(ARGV[11]) do
  local at = 13 + 2 * tonumber(ARGV[10]) + 6 * (i - 1)
  rules[ARGV[at]] = {
    name = ARGV[at], field = ARGV[at + 1], at_once = tonumber(ARGV[at + 2]),
    interval = tonumber(ARGV[at + 3]), burst = tonumber(ARGV[at + 4]),
    room = tonumber(ARGV[at + 5]), rotation = base .. ':rotation:' .. ARGV[at],
    keys = {},
    -- For a step: see below.
    partitioned = 0, counted = 0, new_keys = false, rotated = 0,
    drawn = 0, is_counted = false, before = 0, emptied = false,
    -- For the poll: the keys that it has added, and the number of partitioned requests, if known.
    added = false, total = false,
  }
  order[i] = rules[ARGV[at]]
end

local place_of, text_field -- of places.lua, created when first needed

-- Returns the rule for a request, and its key, if its name is limited.
local function rule_of(raw)
  if #raw > max_request then return nil end
  local head = #raw > 4096 and string.sub(raw, 1, 4096) or raw
  local name = string.match(head, '^%s*{%s*"id"%s*:%s*"[%w_-]+"%s*,%s*"name"%s*:%s*"([^"\\]*)"')
  if not name then
    if not place_of then place_of, text_field = places() end
    name = text_field(raw, 'name')
  end
  local rule = rules[name]
  if not rule then return nil end
  if rule.field == '' then return rule, '' end
  if not place_of then place_of, text_field = places() end
  return rule, place_of(raw, rule.field)
end

-- Returns what this poll knows of a key; `list` is that of its requests, `left` its length, if
-- known. Made once: a long text is expensive.
local function state_of(rule, key)
  local state = rule.keys[key]
  if not state then
    state = {
      key = key, rule = rule, list = base .. ':limited:' .. rule.name .. ':' .. key,
      left = false, permit = false, running = false, ids = false, runs = false, rate = false,
    }
    rule.keys[key] = state
  end
  return state
end

-- Leases the only request of all limited names, if its limit allows it: it would be partitioned,
-- and then drawn. Returns false if it has to be partitioned.
local function lease_only(raw, rule, key)
  if rule.room == 0 or rule.interval > 0 then return false end
  local running = base .. ':running:' .. rule.name .. ':' .. key
  if rule.at_once > 0 and redis.call('SCARD', running) >= rule.at_once then return false end
  local id = lease(raw)
  if not id then return true end
  redis.call('HSET', KEYS[13], id, rule.name .. ' ' .. key)
  undo('HDEL', KEYS[13], id)
  redis.call('SADD', running, id)
  undo('SREM', running, id)
  if rule.room > 0 then rule.room = rule.room - 1 end
  has_permits = true
  return true
end

-- The requests that this step has partitioned: for each its list, and true if it is at the head of
-- the list. A note for each would cost more than its commands. `partitioned` of a rule counts them,
-- `counted` those that `limited names` counts; `new_keys` are the keys whose first request was
-- partitioned, `rotated` counts those of them that are in the rotation.
local moved = { nil, nil }

-- Moves a request, which was popped in this step, to its key's list.
local function partition(raw, rule, key)
  if moves == 0 then
    for i = 1, #order do
      local any = order[i]
      any.partitioned, any.counted, any.new_keys, any.rotated = 0, 0, false, 0
    end
  end
  local state, at_head = state_of(rule, key), false
  local list = state.list
  local id, length
  if has_history then
    id = string.match(raw, '^%s*{%s*"id"%s*:%s*"([%w_-]+)"')
    if not id then
      if not place_of then place_of, text_field = places() end
      id = text_field(raw, 'id')
    end
  end
  if id and redis.call('HEXISTS', KEYS[11], id) == 1 then
    length, at_head = redis.call('LPUSH', list, raw), true
  else
    length = redis.call('RPUSH', list, raw)
  end
  state.left = length
  moved[moves + 1], moved[moves + 2] = list, at_head
  moves = moves + 2
  rule.partitioned = rule.partitioned + 1
  if length == 1 then
    if rule.new_keys then rule.new_keys[#rule.new_keys + 1] = key else rule.new_keys = { key } end
  end
  partitioned = partitioned + 1
end

-- Adds the new keys to the rotation, and counts the requests that were partitioned in this step.
-- The script adds the keys that are not drawn empty to `limit_keys`.
local function count_partitioned()
  for i = 1, #order do
    local rule = order[i]
    local new_keys = rule.new_keys
    if new_keys then
      rule.added = rule.added or {}
      for at = 1, #new_keys do rule.added[new_keys[at]] = true end
      redis.call('RPUSH', rule.rotation, unpack(new_keys))
      rule.rotated = #new_keys
    end
    if rule.partitioned > 0 then
      rule.total = redis.call('HINCRBY', KEYS[14], rule.name, rule.partitioned)
      rule.counted, has_limited = rule.partitioned, true
    end
  end
end

-- Returns the functions for rates: `next_pace` and `wake`. Most polls need neither.
local function create_rates()
  -- Returns the pace of a rate, us: at most a window ahead, however far Redis's clock was ahead
  -- when it was written. Corrects the stored pace, which otherwise would stay ahead.
  local function pace_of(rate, now, window)
    local kept = tonumber(redis.call('GET', rate) or 0) or 0
    if kept <= now + window then return math.max(kept, now) end
    redis.call('SET', rate, string.format('%.0f', now + window), 'PX',
      string.format('%.0f', math.ceil(window / 1000)))
    return now + window
  end

  -- Returns the time (us) to which a key's rate advances with one more request, and its TTL (ms).
  -- Or nil, and when (ms) the rate allows the next one.
  local function next_pace(rule, state)
    local now = redis.call('TIME')
    now = now[1] * 1000000 + now[2]
    -- The next request's due time at an even pace; a burst may be that much ahead.
    local pace = state.pace and math.max(state.pace, now)
      or pace_of(state.rate, now, rule.interval * rule.burst)
    local ready = pace - rule.interval * (rule.burst - 1)
    if ready > now then return nil, math.ceil(ready / 1000) end
    pace = pace + rule.interval
    return pace, math.ceil((pace - now) / 1000)
  end

  -- Puts keys back into the rotation once their rate allows the next request.
  local function wake()
    local passed = redis.call('ZRANGEBYSCORE', KEYS[15], '-inf', string.format('%.0f', now_ms()),
      'LIMIT', '0', '1000')
    for _, limit in ipairs(passed) do
      local name, key = string.match(limit, '^(%S+) (.*)$')
      redis.call('RPUSH', base .. ':rotation:' .. name, key)
      undo('RPOP', base .. ':rotation:' .. name)
      redis.call('ZREM', KEYS[15], limit)
      noted = 0
    end
  end

  return { next_pace = next_pace, wake = wake }
end

-- The draws of this step, and the number of their entries: for each the state of its key, its
-- request or false, and the key's new place or false. Then ids and permits of the leased requests
-- and the number of these entries, and the states of keys with such, and with a new pace. All is
-- stored and undone once per step: per draw it would cost more than the draws.
local draws, drawn = { nil, nil, nil }, 0
local permitted, permits_end = { nil, nil }, 0
local running, paced, rates

-- Undoes the requests that a failed step has partitioned, and its draws.
local function undo_step()
  if moves > 0 then
    for i = 1, #order do
      local rule = order[i]
      for _ = 1, rule.rotated do redis.pcall('RPOP', rule.rotation) end
      if rule.counted > 0 then redis.pcall('HINCRBY', KEYS[14], rule.name, -rule.counted) end
      rule.keys, rule.total = {}, false
    end
    for at = moves - 1, 1, -2 do
      if moved[at + 1] then redis.pcall('LPOP', moved[at]) else redis.pcall('RPOP', moved[at]) end
    end
  end
  if drawn == 0 then return end
  for at = 1, permits_end, 2 do redis.pcall('HDEL', KEYS[13], permitted[at]) end
  for _, state in ipairs(running) do redis.pcall('SREM', state.running, unpack(state.ids)) end
  for at = drawn - 2, 1, -3 do
    local state, raw, place = draws[at], draws[at + 1], draws[at + 2]
    local rule = state.rule
    if place == 'rotation' then
      redis.pcall('RPOP', rule.rotation)
    elseif place == 'held' then
      redis.pcall('SREM', base .. ':held:' .. rule.name, state.key)
    elseif place == 'throttled' then
      redis.pcall('ZREM', KEYS[15], state.permit)
    end
    if raw then redis.pcall('LPUSH', state.list, raw) end
    redis.pcall('LPUSH', rule.rotation, state.key)
  end
  for i = 1, #order do
    local rule = order[i]
    if rule.is_counted then redis.pcall('HINCRBY', KEYS[14], rule.name, rule.drawn) end
    rule.room, rule.keys, rule.total = rule.before, {}, false
  end
  drawn = 0
end

-- Takes one request of the first key in rotation. Returns true if the name may have more.
local function draw_one(rule)
  local key = redis.call('LPOP', rule.rotation)
  if not key then return false end
  local state, at = state_of(rule, key), drawn
  draws[at + 1], draws[at + 2], draws[at + 3] = state, false, false
  drawn = at + 3
  if not state.permit then
    local of = rule.name .. ':' .. key
    state.permit, state.running = rule.name .. ' ' .. key, base .. ':running:' .. of
    state.ids = { nil }
    if rule.at_once > 0 then state.runs = redis.call('SCARD', state.running) end
    if rule.interval > 0 then state.rate = base .. ':rate:' .. of end
  end
  if rule.at_once > 0 and state.runs >= rule.at_once then
    redis.call('SADD', base .. ':held:' .. rule.name, key)
    draws[drawn] = 'held'
    return true
  end
  if rule.interval > 0 then
    rates = rates or create_rates()
    local pace, until_ms = rates.next_pace(rule, state)
    if not pace then
      throttles = true
      redis.call('ZADD', KEYS[15], string.format('%.0f', until_ms), state.permit)
      draws[drawn] = 'throttled'
      return true
    end
    state.pace, state.pace_ttl, paced[#paced + 1] = pace, until_ms, state
  end
  local raw = redis.call('LPOP', state.list)
  if raw then
    draws[at + 2] = raw
    bytes, rule.drawn = bytes + #raw, rule.drawn + 1
    local id = lease(raw)
    if id then
      if not state.ids[1] then running[#running + 1] = state end
      state.ids[#state.ids + 1] = id
      permitted[permits_end + 1], permitted[permits_end + 2] = id, state.permit
      permits_end = permits_end + 2
      if state.runs then state.runs = state.runs + 1 end
      if rule.room > 0 then rule.room = rule.room - 1 end
    end
  end
  state.left = raw and (state.left and state.left - 1 or redis.call('LLEN', state.list)) or 0
  if state.left > 0 then
    redis.call('RPUSH', rule.rotation, key)
    draws[drawn] = 'rotation'
  else
    rule.emptied = rule.emptied or { nil }
    rule.emptied[#rule.emptied + 1] = key
  end
  return true
end

-- Where drawing stops: number of requests, and of draws; the next name, and for how many names
-- nothing was drawn.
local stop, tries, position, idle = 0, 0, 0, 0

-- Draws up to `max` requests. Returns the number of draws.
local function draw_some(max)
  drawn, permits_end, running, paced = 0, 0, { nil }, {}
  for i = 1, #order do
    local rule = order[i]
    rule.drawn, rule.is_counted, rule.before, rule.emptied = 0, false, rule.room, false
  end
  while idle < #order and drawn < 3 * max and count / 3 < stop and tries > 0
    and (bytes == 0 or bytes <= room_limit) and scanned <= MAX_SCANNED and notes[1] == ''
  do
    local rule = order[position % #order + 1]
    position, idle = position + 1, idle + 1
    if rule.room ~= 0 then
      tries = tries - 1
      if draw_one(rule) then idle = 0 end
    end
  end
  if drawn == 0 then return 0 end
  -- Store the draws of this step.
  keep()
  if permits_end > 0 then
    redis.call('HSET', KEYS[13], unpack(permitted, 1, permits_end))
    has_permits = true
  end
  for _, state in ipairs(running) do redis.call('SADD', state.running, unpack(state.ids)) end
  for i = 1, #order do
    local rule = order[i]
    if rule.drawn > 0 then
      local total = rule.total and rule.total - rule.drawn
      if not total or total > 0 then
        total = redis.call('HINCRBY', KEYS[14], rule.name, -rule.drawn)
        rule.is_counted = true
      end
      if total <= 0 then
        redis.call('HDEL', KEYS[14], rule.name)
        rule.is_counted = true
      end
      rule.total = total
    end
  end
  -- Last, since their TTLs could not be restored.
  for _, state in ipairs(paced) do
    redis.call('SET', state.rate, string.format('%.0f', state.pace), 'PX',
      string.format('%.0f', state.pace_ttl))
  end
  for _, state in ipairs(running) do state.ids = {} end
  for i = 1, #order do
    local rule, gone = order[i], { nil }
    for at = 1, rule.emptied and #rule.emptied or 0 do
      local key = rule.emptied[at]
      if rule.added and rule.added[key] then rule.added[key] = nil else gone[#gone + 1] = key end
    end
    -- A failure leaves it to a heartbeat.
    if gone[1] then redis.pcall('SREM', base .. ':limit_keys:' .. rule.name, unpack(gone)) end
  end
  local many = drawn / 3
  drawn = 0
  return many
end

-- Draws up to `quota` partitioned requests, the names in turn: each poll of a worker, which often
-- has capacity for one, begins with the next name.
local function draw(quota)
  if quota < 1 or notes[1] ~= '' then return end
  stop, tries, idle = kept / 3 + quota, 2 * quota + 200, 0
  position = math.floor(tonumber(ARGV[7]) / 2) + 1
  local max = 250
  while true do
    local codes, first_position, all_tries = #notes, position, tries
    local many = lease_step(draw_some, max)
    if many > 0 then
      -- A dead letter that could not be written ends leasing.
      if notes[1] ~= '' then return end
    else
      -- An undone step has refused nothing.
      for at = #notes, codes + 1, -1 do notes[at] = nil end
      if notes[1] == '' or max == 1 then return end
      -- One of them fails: draw one by one up to that.
      max, notes[1], position, tries, idle = 1, '', first_position, all_tries, 0
    end
  end
end

-- Leases nothing, but puts keys back into the rotation.
local function wake()
  rates = rates or create_rates()
  return rates.wake()
end

return {
  order = order, rule_of = rule_of, lease_only = lease_only, partition = partition,
  count_partitioned = count_partitioned, draw = draw, wake = wake, undo_step = undo_step,
}
