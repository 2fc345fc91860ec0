-- Purpose: sort requests of limited names by the key that their limit counts by, and draw from the
--   keys in rotation; part of poll.lua, in a function of its own, for polls with limited names.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: a table of functions.
-- Derived keys: limited:<name>:<key>, rotation:<name>, held:<name>, running:<name>:<key>,
--   rate:<name>:<key>, limit_keys:<name> of limited names.
-- Cost: O(1) per request.
local rules, order = {}, {}
for i = 1, limit_count do
  local at = 13 + 2 * parked_count + 6 * (i - 1)
  rules[ARGV[at]] = {
    name = ARGV[at], field = ARGV[at + 1], at_once = tonumber(ARGV[at + 2]),
    interval = tonumber(ARGV[at + 3]), burst = tonumber(ARGV[at + 4]),
    room = tonumber(ARGV[at + 5]), rotation = base .. ':rotation:' .. ARGV[at],
    keys = {}, emptied = {},
  }
  order[i] = rules[ARGV[at]]
end

-- The part of a request in which the limit's field is searched for, bytes.
local FIELD_LIMIT = 65536

-- Returns the key that a value counts by, as written: 1, 1.0 and "1" are three. A short, plain
-- string is its own key; '=' and '#' never occur in a plain one.
local function key_of(literal)
  local text, mark = literal, '='
  if string.byte(literal) == 34 then
    text, mark = meaning(literal) or literal, ''
  elseif not string.find(literal, '^[-%dtf]') then
    return '' -- null
  end
  if #text > 64 or string.find(text, '[^%w_.@+-]') then
    return '#' .. redis.sha1hex(mark .. text)
  end
  return mark .. text
end

-- Returns the position of a request's data: most begin with id, name and data.
local function data_of(text)
  local at = string.match(text, '^%s*{%s*"id"%s*:%s*"[%w_-]+"%s*,%s*"name"%s*:%s*"[^"\\]*"%s*,%s*'
    .. '"data"%s*:%s*()')
  if at then return at end
  local opens = string.match(text, '^%s*{()')
  return opens and find_field(text, opens - 1, 'data')
end

-- Returns the rule for a request, and its key, if its name is limited.
local function rule_of(raw)
  if #raw > max_request then return nil end
  local head = #raw > 4096 and string.sub(raw, 1, 4096) or raw
  local name = string.match(head, '^%s*{%s*"id"%s*:%s*"[%w_-]+"%s*,%s*"name"%s*:%s*"([^"\\]*)"')
    or text_field(raw, 'name')
  local rule = rules[name]
  if not rule then return nil end
  if rule.field == '' then return rule, '' end
  local text = #raw > FIELD_LIMIT and string.sub(raw, 1, FIELD_LIMIT) or raw
  local data = data_of(text)
  if not data or string.byte(text, data) ~= 123 then return rule, '' end
  local at = find_field(text, data, rule.field)
  local literal = at and literal_at(text, at)
  return rule, literal and key_of(literal) or ''
end

-- Returns what this poll knows of a key; `list` is that of its requests. Made once: a long text is
-- expensive.
local function state_of(rule, key)
  local state = rule.keys[key]
  if not state then
    state = { key = key, rule = rule, list = base .. ':limited:' .. rule.name .. ':' .. key }
    rule.keys[key] = state
  end
  return state
end

-- The requests that this step has sorted: for each its list, and true if it is at the head of the
-- list. A note for each would cost more than its commands. Then per name: the number of sorted
-- requests, and of those that are counted; the keys whose first request was sorted, and the number
-- of those that are in the rotation.
local moved, sorted_of, counted, new_keys, rotated = {}, {}, {}, {}, {}

local function unsort()
  for name, many in pairs(rotated) do
    for _ = 1, many do redis.pcall('RPOP', rules[name].rotation) end
  end
  for name, many in pairs(counted) do redis.pcall('HINCRBY', KEYS[14], name, -many) end
  for at = moves - 1, 1, -2 do
    if moved[at + 1] then redis.pcall('LPOP', moved[at]) else redis.pcall('RPOP', moved[at]) end
  end
end

-- Adds the new keys to the rotation, and counts the requests that were sorted in this step.
local function count_sorted()
  for name, keys in pairs(new_keys) do
    redis.pcall('SADD', base .. ':limit_keys:' .. name, unpack(keys))
    redis.call('RPUSH', rules[name].rotation, unpack(keys))
    rotated[name] = #keys
  end
  for name, many in pairs(sorted_of) do
    redis.call('HINCRBY', KEYS[14], name, many)
    counted[name], has_limited = many, true
  end
end

-- Moves a request, which was popped in this step, to its key's list.
local function sort(raw, rule, key)
  local list, at_head = state_of(rule, key).list, false
  local id = has_history and id_of(raw)
  local length
  if id and redis.call('HEXISTS', KEYS[11], id) == 1 then
    length, at_head = redis.call('LPUSH', list, raw), true
  else
    length = redis.call('RPUSH', list, raw)
  end
  if moves == 0 then
    sorted_of, counted, new_keys, rotated = {}, {}, {}, {}
    undo(unsort)
  end
  moved[moves + 1], moved[moves + 2] = list, at_head
  moves = moves + 2
  sorted_of[rule.name] = (sorted_of[rule.name] or 0) + 1
  if length == 1 then
    local keys = new_keys[rule.name] or {}
    new_keys[rule.name], keys[#keys + 1] = keys, key
  end
  sorted = sorted + 1
end

-- Returns the pace of a rate, us: at most a window ahead, however far Redis's clock was ahead when
-- it was written. Corrects the stored pace, which otherwise would stay ahead.
local function pace_of(rate, now, window)
  local kept = tonumber(redis.call('GET', rate) or 0) or 0
  if kept <= now + window then return math.max(kept, now) end
  redis.call('SET', rate, string.format('%.0f', now + window), 'PX',
    string.format('%.0f', math.ceil(window / 1000)))
  return now + window
end

-- Returns the time (us) to which a key's rate advances with one more request, and its TTL (ms). Or
-- nil, and when (ms) the rate allows the next one.
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

-- The draws of this step, and the number of their entries: for each the state of its key, its
-- request or false, and the key's new place or false. Then ids and permits of the leased requests
-- and the number of these entries, and the states of keys with such, and with a new pace. All is
-- stored and undone once per step: per draw it would cost more than the draws.
local draws, drawn, permitted, permits_end = {}, 0, {}, 0
local running, paced = {}, {}

local function undraw()
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
    rule.room, rule.keys = rule.before, {}
  end
end

-- Takes one request of the first key in rotation. Returns true if the name may have more.
local function draw_one(rule)
  local key = redis.call('LPOP', rule.rotation)
  if not key then return false end
  local state, at = state_of(rule, key), drawn
  if at == 0 then undo(undraw) end
  draws[at + 1], draws[at + 2], draws[at + 3] = state, false, false
  drawn = at + 3
  if not state.permit then
    local of = rule.name .. ':' .. key
    state.permit, state.running, state.ids = rule.name .. ' ' .. key, base .. ':running:' .. of, {}
    if rule.at_once > 0 then state.runs = redis.call('SCARD', state.running) end
    if rule.interval > 0 then state.rate = base .. ':rate:' .. of end
  end
  if rule.at_once > 0 and state.runs >= rule.at_once then
    redis.call('SADD', base .. ':held:' .. rule.name, key)
    draws[drawn] = 'held'
    return true
  end
  if rule.interval > 0 then
    local pace, until_ms = next_pace(rule, state)
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
  if redis.call('EXISTS', state.list) == 1 then
    redis.call('RPUSH', rule.rotation, key)
    draws[drawn] = 'rotation'
  else
    rule.emptied[#rule.emptied + 1] = key
  end
  return true
end

-- Stores the draws of this step.
local function keep_draws()
  keep()
  if permits_end > 0 then redis.call('HSET', KEYS[13], unpack(permitted, 1, permits_end)) end
  for _, state in ipairs(running) do redis.call('SADD', state.running, unpack(state.ids)) end
  for i = 1, #order do
    local rule = order[i]
    if rule.drawn > 0 then
      rule.is_counted = true
      if redis.call('HINCRBY', KEYS[14], rule.name, -rule.drawn) <= 0 then
        redis.call('HDEL', KEYS[14], rule.name)
      end
    end
    -- A failure leaves it to a heartbeat.
    if rule.emptied[1] then
      redis.pcall('SREM', base .. ':limit_keys:' .. rule.name, unpack(rule.emptied))
    end
  end
  -- Last, since their TTLs could not be restored.
  for _, state in ipairs(paced) do
    redis.call('SET', state.rate, string.format('%.0f', state.pace), 'PX',
      string.format('%.0f', state.pace_ttl))
  end
  for _, state in ipairs(running) do state.ids = {} end
end

-- Where drawing stops: number of requests, and of draws; the next name, and for how many names
-- nothing was drawn.
local stop, tries, turn, idle = 0, 0, 0, 0

-- Draws up to `most` requests. Returns the number of draws.
local function draw_some(most)
  drawn, permits_end, running, paced = 0, 0, {}, {}
  for i = 1, #order do
    local rule = order[i]
    rule.drawn, rule.is_counted, rule.before = 0, false, rule.room
    if rule.emptied[1] then rule.emptied = {} end
  end
  while idle < #order and drawn < 3 * most and seen + (count - kept) / 3 < stop and tries > 0
    and has_room(bytes) and scanned <= MAX_SCANNED and notes[1] == ''
  do
    local rule = order[turn % #order + 1]
    turn, idle = turn + 1, idle + 1
    if rule.room ~= 0 then
      tries = tries - 1
      if draw_one(rule) then idle = 0 end
    end
  end
  if drawn > 0 then keep_draws() end
  return drawn / 3
end

-- Draws up to `quota` sorted requests, the names in turn: each poll of a worker, which often has
-- capacity for one, begins with the next name.
local function draw(quota)
  if quota < 1 or notes[1] ~= '' then return end
  stop, tries, idle = seen + quota, 2 * quota + 200, 0
  turn = math.floor(tonumber(ARGV[7]) / 2) + 1
  local most = 250
  while true do
    local codes, first_turn, all_tries = #notes, turn, tries
    local many = lease_step(draw_some, most)
    if many > 0 then
      -- A dead letter that could not be written ends leasing.
      if notes[1] ~= '' then return end
    else
      -- An undone step has refused nothing.
      for at = #notes, codes + 1, -1 do notes[at] = nil end
      if notes[1] == '' or most == 1 then return end
      -- One of them fails: draw one by one up to that.
      most, notes[1], turn, tries, idle = 1, '', first_turn, all_tries, 0
    end
  end
end

-- Notes when the first throttled key may continue.
local function find_due()
  local first = ask('ZRANGE', KEYS[15], 0, 0, 'WITHSCORES') or {}
  throttles, due = first[2] and true, tonumber(first[2] or 0)
end

-- Puts keys back into the rotation once their rate allows the next request.
local function wake()
  local passed = redis.call('ZRANGEBYSCORE', KEYS[15], '-inf', string.format('%.0f', now_ms()),
    'LIMIT', 0, 1000)
  for _, limit in ipairs(passed) do
    local name, key = limit_of(limit)
    redis.call('RPUSH', base .. ':rotation:' .. name, key)
    undo('RPOP', base .. ':rotation:' .. name)
    redis.call('ZREM', KEYS[15], limit)
    noted = 0
  end
end

-- Returns true if another request of a name could be leased.
local function is_ready()
  for i = 1, #order do
    if order[i].room ~= 0 and redis.call('EXISTS', order[i].rotation) == 1 then return true end
  end
  return false
end

return {
  rule_of = rule_of, sort = sort, count_sorted = count_sorted, draw = draw, find_due = find_due,
  wake = wake, is_ready = is_ready,
}
