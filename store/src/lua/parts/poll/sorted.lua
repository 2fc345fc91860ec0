-- Purpose: sort requests of limited names by the key that their limit counts by, and draw from the
--   keys in rotation; part of poll.lua.
-- KEYS: of poll.lua.
-- ARGV: of poll.lua.
-- Returns: nothing.
-- Derived keys: limited:<name>:<key>, rotation:<name>, held:<name>, running:<name>:<key>,
--   rate:<name>:<key>, limit_keys:<name> of limited names.
-- Cost: O(1) per request.
local rules, order = {}, {}
local throttles, due = false, 0 -- true if a rate throttles a key, and until when (ms) the first
for i = 1, limit_count do
  local at = 13 + 2 * parked_count + 6 * (i - 1)
  rules[ARGV[at]] = {
    name = ARGV[at], field = ARGV[at + 1], at_once = tonumber(ARGV[at + 2]),
    interval = tonumber(ARGV[at + 3]), burst = tonumber(ARGV[at + 4]),
    room = tonumber(ARGV[at + 5]), rotation = base .. ':rotation:' .. ARGV[at],
    lists = {}, running = {},
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

-- Returns the list of a key's requests, and the set of those that run. Made once: a long text is
-- expensive.
local function list_of(rule, key)
  local list = rule.lists[key]
  if list then return list, rule.running[key] end
  local of = rule.name .. ':' .. key
  list, rule.running[key] = base .. ':limited:' .. of, base .. ':running:' .. of
  rule.lists[key] = list
  return list, rule.running[key]
end

-- The requests that this step has sorted: for each its list, and true if it is at the head of the
-- list. A note for each would cost more than its commands. Then the number of sorted requests per
-- name, and of those that are counted.
local moved, sorted_of, counted = {}, {}, {}

local function unsort()
  for name, many in pairs(counted) do redis.pcall('HINCRBY', KEYS[14], name, -many) end
  for at = moves - 1, 1, -2 do
    if moved[at + 1] then redis.pcall('LPOP', moved[at]) else redis.pcall('RPOP', moved[at]) end
  end
end

-- Counts what was sorted in this step.
local function count_sorted()
  for name, many in pairs(sorted_of) do
    redis.call('HINCRBY', KEYS[14], name, many)
    counted[name], has_limited = many, true
  end
end

-- Moves a request, which was popped in this step, to its key's list.
local function sort(raw, rule, key)
  local list, at_head = list_of(rule, key), false
  local id = has_history and id_of(raw)
  local length
  if id and redis.call('HEXISTS', KEYS[11], id) == 1 then
    length, at_head = redis.call('LPUSH', list, raw), true
  else
    length = redis.call('RPUSH', list, raw)
  end
  if moves == 0 then
    sorted_of, counted = {}, {}
    undo(unsort)
  end
  moved[moves + 1], moved[moves + 2] = list, at_head
  moves = moves + 2
  sorted_of[rule.name] = (sorted_of[rule.name] or 0) + 1
  if length == 1 then add_limit_key(base, rule.name, key) end
  sorted = sorted + 1
end

-- Returns the time (us) to which a key's rate advances with one more request, and its TTL (ms). Or
-- nil, and when (ms) the rate allows the next one.
local function next_pace(rule, rate)
  local now = redis.call('TIME')
  now = now[1] * 1000000 + now[2]
  -- The next request's due time at an even pace; a burst may be that much ahead.
  local pace = pace_of(rate, now, rule.interval * rule.burst)
  local ready = pace - rule.interval * (rule.burst - 1)
  if ready > now then return nil, math.ceil(ready / 1000) end
  pace = pace + rule.interval
  return pace, math.ceil((pace - now) / 1000)
end

-- The completed steps of the current draw.
local drawn = {}

local function undraw()
  local rule, list, running = drawn.rule, list_of(drawn.rule, drawn.key)
  if drawn.permit then redis.pcall('HDEL', KEYS[13], drawn.id) end
  if drawn.id then redis.pcall('SREM', running, drawn.id) end
  if drawn.counted then redis.pcall('HINCRBY', KEYS[14], rule.name, 1) end
  if drawn.raw then redis.pcall('LPUSH', list, drawn.raw) end
  if drawn.goes_on then redis.pcall('RPOP', rule.rotation) end
  redis.pcall('LPUSH', rule.rotation, drawn.key)
end

-- Takes one request of the first key in rotation. Returns true if the name may have more.
local function draw_one(rule)
  local key = redis.call('LPOP', rule.rotation)
  if not key then return false end
  drawn.rule, drawn.key = rule, key
  drawn.raw, drawn.counted, drawn.id = false, false, false
  drawn.permit, drawn.goes_on = false, false
  undo(undraw)
  local list, running = list_of(rule, key)
  if rule.at_once > 0 and redis.call('SCARD', running) >= rule.at_once then
    redis.call('SADD', base .. ':held:' .. rule.name, key)
    return true
  end
  local rate, pace, until_ms
  if rule.interval > 0 then
    rate = base .. ':rate:' .. rule.name .. ':' .. key
    pace, until_ms = next_pace(rule, rate)
    if not pace then
      throttles = true
      redis.call('ZADD', KEYS[15], string.format('%.0f', until_ms), rule.name .. ' ' .. key)
      return true
    end
  end
  local raw = redis.call('LPOP', list)
  if raw then
    drawn.raw = raw
    bytes = bytes + #raw
    if redis.call('HINCRBY', KEYS[14], rule.name, -1) <= 0 then
      redis.call('HDEL', KEYS[14], rule.name)
    end
    drawn.counted = true
    local id = lease(raw)
    if id then
      redis.call('SADD', running, id)
      drawn.id = id
      redis.call('HSET', KEYS[13], id, rule.name .. ' ' .. key)
      drawn.permit = true
      if rule.room > 0 then rule.room = rule.room - 1 end
    end
  end
  if redis.call('EXISTS', list) == 1 then
    redis.call('RPUSH', rule.rotation, key)
    drawn.goes_on = true
  else
    remove_limit_key(base, rule.name, key)
  end
  keep()
  -- Last, since its TTL could not be restored.
  if pace then
    redis.call('SET', rate, string.format('%.0f', pace), 'PX', string.format('%.0f', until_ms))
  end
  return true
end

-- Draws up to `quota` sorted requests, the names in turn: each poll of a worker, which often has
-- capacity for one, begins with the next name.
local function draw(quota)
  local stop, tries = seen + quota, 2 * quota + 200
  local first = math.floor(tonumber(ARGV[7]) / 2)
  local going = true
  while going and seen < stop and bytes < max_bytes and tries > 0 do
    going = false
    for i = 1, #order do
      local rule = order[(first + i) % #order + 1]
      if rule.room ~= 0 and seen < stop and has_room(bytes) then
        tries = tries - 1
        going = lease_step(draw_one, rule) == true or going
      end
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
