-- Purpose: maintain the invariant of limited names: a key that has partitioned requests is in
--   exactly one list: `rotation`, `held`, or `throttled`. A key in none of them would never run
--   again. Part of a heartbeat.
-- KEYS: 1 limited (hash), 2 permits (hash), 3 throttled (zset), 4 live (hash), 5 control (channel)
-- ARGV: 1 '1' to repair, '0' only to check, 2 base of the queue's keys, 3 maximum number of keys to
--   check; then per name: name, maximum that runs at once (0: no limit, -1: unknown), how far ahead
--   its rate can throttle a key (ms, 0: unknown)
-- Returns: {name, key, fault, ...}. fault: 'lost' (in no list), 'twice' (in several), 'held'
--   (although one more may run), 'ahead' (throttled for longer than its rate allows), 'running' (a
--   request counts as running but does not run), 'permits' (a request runs and does not count, or
--   the reverse), 'count' (`limited` has another number), 'type' (a value of another type is at one
--   of its keys; key: which).
-- Derived keys: limit_keys:<name>, rotation:<name>, held:<name>, limited:<name>:<key>,
--   running:<name>:<key>, leases:<worker>.
-- Cost: O(keys checked); while a key is missing, O(keys of its name) up to 10,000.
local repairs, base, left = ARGV[1] == '1', ARGV[2], tonumber(ARGV[3])
local now, found, moved = now_ms(), {}, false

-- Returns the reply of a command; nil if a value of another type is at the key.
local function query(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then return nil end
  return reply
end

local function write(...)
  if repairs then return redis.pcall(...) end
end

local function note(name, key, what)
  found[#found + 1] = name
  found[#found + 1] = key
  found[#found + 1] = what
end

-- Called before the key leaves another list: returns false if this failed, and the key has to stay.
local function into_rotation(rotation, key)
  local reply = write('RPUSH', rotation, key)
  moved = true
  return type(reply) ~= 'table'
end

-- Returns true if the request is leased, or if that cannot be read.
local function is_leased(id)
  local of = query('HGET', KEYS[4], id)
  if of == nil then return true end
  local worker = worker_of(of)
  return worker and worker ~= DEFERRED and query('HEXISTS', base .. ':leases:' .. worker, id) ~= 0
end

-- Returns a function that counts a key in the rotation; it returns nil if that would take too long
-- for `count` keys.
local function reader_of(rotation, length, count)
  local times
  return function(key)
    if length <= 10000 then
      if not times then
        times = {}
        for _, one in ipairs(query('LRANGE', rotation, 0, -1) or {}) do
          times[one] = (times[one] or 0) + 1
        end
      end
      return times[key] or 0
    end
    if count > 8 then return nil end
    return #(query('LPOS', rotation, key, 'COUNT', 0) or {})
  end
end

-- Checks requests that count as running for a key but do not run; and the reverse for `permits`.
local function check_running(name, key, running)
  for _, id in ipairs(query('SRANDMEMBER', running, 16) or {}) do
    if not is_leased(id) then
      note(name, key, 'running')
      write('SREM', running, id)
      write('HDEL', KEYS[2], id)
    elseif query('HEXISTS', KEYS[2], id) == 0 then
      note(name, key, 'permits')
      write('HSET', KEYS[2], id, name .. ' ' .. key)
    end
  end
end

-- Checks a key. Returns how many of its requests are partitioned; nil if that cannot be read.
local function check_key(rule, key, times_of)
  local name, limit = rule.name, rule.name .. ' ' .. key
  local list = base .. ':limited:' .. name .. ':' .. key
  local running = base .. ':running:' .. name .. ':' .. key
  local partitioned = query('LLEN', list)
  local is_held, ready = query('SISMEMBER', rule.held, key), query('ZSCORE', KEYS[3], limit)
  if not partitioned or not query('SCARD', running) then
    note(name, partitioned and running or list, 'type')
    return nil
  end
  if partitioned == 0 then
    -- No request waits: remove the key's remains. The rotation drops it by itself.
    write('SREM', rule.keys, key)
    write('SREM', rule.held, key)
    write('ZREM', KEYS[3], limit)
    return 0
  end
  check_running(name, key, running)
  local at_once = rule.at_once < 0 and 1 or rule.at_once
  local may_run = at_once == 0 or query('SCARD', running) < at_once
  local is_throttled = ready and true or false
  local times = times_of(key)
  if not times then return partitioned end
  local places = times + (is_held == 1 and 1 or 0) + (is_throttled and 1 or 0)
  local what
  if places == 0 then
    what = 'lost'
  elseif places > 1 then
    what = 'twice'
  elseif is_held == 1 and may_run then
    what = 'held'
  end
  if what then
    note(name, key, what)
    if times == 0 and not into_rotation(rule.rotation, key) then return partitioned end
    write('SREM', rule.held, key)
    write('ZREM', KEYS[3], limit)
    if times > 1 then write('LREM', rule.rotation, 1 - times, key) end
  end
  return partitioned
end

-- Adds keys that are in a list but not in the set of all keys.
local function list_keys(rule, length)
  local all = query('LRANGE', rule.rotation, 0, math.min(length, 1000)) or {}
  for _, key in ipairs(query('SRANDMEMBER', rule.held, 1000) or {}) do all[#all + 1] = key end
  for _, key in ipairs(all) do
    if query('EXISTS', base .. ':limited:' .. rule.name .. ':' .. key) == 1 then
      write('SADD', rule.keys, key)
    end
  end
end

-- The number of throttled keys in all and per name; if there are more than 2,000, only in all.
local throttled, throttled_of = query('ZCARD', KEYS[3]), {}
if throttled and throttled <= 2000 then
  for _, limit in ipairs(query('ZRANGE', KEYS[3], 0, -1)) do
    local name = limit_of(limit)
    if name then throttled_of[name] = (throttled_of[name] or 0) + 1 end
  end
end

-- Checks that `limited` has the number of partitioned requests of a name. A part of its keys only
-- gives a minimum: one request each.
local function check_count(name, sum, is_all, keys)
  local text = query('HGET', KEYS[1], name)
  if text == nil then return end -- of a wrong type, which is reported elsewhere
  local stored = tonumber(text or 0) or 0
  if not is_all then sum = stored < keys and math.max(sum, keys) or stored end
  if stored == sum then
    -- A remaining zero would prevent the fast script at every poll.
    if text and sum == 0 then write('HDEL', KEYS[1], name) end
    return
  end
  note(name, '', 'count')
  if sum == 0 then write('HDEL', KEYS[1], name) else write('HSET', KEYS[1], name, sum) end
  moved = true
end

local function check_name(rule)
  local rotation, held, keys = rule.rotation, rule.held, rule.keys
  local waiting, full, listed = query('LLEN', rotation), query('SCARD', held), query('SCARD', keys)
  if not (waiting and full and listed and throttled) then
    local which = not waiting and rotation or not full and held or not listed and keys or KEYS[3]
    return note(rule.name, which, 'type')
  end
  if listed < waiting + full then
    list_keys(rule, waiting)
    listed = query('SCARD', keys)
  end
  local missing = listed - waiting - full
  local is_even = missing == (throttled_of[rule.name] or 0)
  if throttled > 2000 then is_even = missing >= 0 and missing <= throttled end
  local max = math.min(left, is_even and 16 or waiting > 10000 and 8 or 1000)
  local some = query('SRANDMEMBER', keys, max) or {}
  left = left - #some
  local times_of = reader_of(rotation, waiting, #some)
  local sum = 0
  for _, key in ipairs(some) do
    local partitioned = check_key(rule, key, times_of)
    sum = sum and partitioned and sum + partitioned
  end
  -- Held keys get no turn by themselves: check some of them in each call, however many others there
  -- are.
  if is_even then
    for _, key in ipairs(query('SRANDMEMBER', held, math.min(left, 64)) or {}) do
      left = left - 1
      check_key(rule, key, times_of)
    end
  end
  if sum then check_count(rule.name, sum, #some == listed, listed) end
end

-- Checks requests that have a permit but do not run; and those that run but do not count as
-- running.
local function check_permits()
  local some = query('HRANDFIELD', KEYS[2], 16, 'WITHVALUES')
  if not some then return note('', KEYS[2], 'type') end
  for i = 1, #some, 2 do
    local id, name, key = some[i], limit_of(some[i + 1])
    local running = name and base .. ':running:' .. name .. ':' .. key
    if name and not is_leased(id) then
      note(name, key, 'permits')
      write('HDEL', KEYS[2], id)
      write('SREM', running, id)
    elseif name and query('SISMEMBER', running, id) == 0 then
      note(name, key, 'permits')
      write('SADD', running, id)
    end
  end
end

-- Checks keys that are throttled for longer than their rate allows: their times were written while
-- Redis's clock was ahead.
local function check_throttled(rules)
  local last = query('ZRANGE', KEYS[3], 0, 63, 'REV', 'WITHSCORES') or {}
  for i = 1, #last, 2 do
    local name, key = limit_of(last[i])
    local rule = rules[name]
    if rule and rule.window > 0 and tonumber(last[i + 1]) > now + rule.window then
      note(name, key, 'ahead')
      if into_rotation(rule.rotation, key) then write('ZREM', KEYS[3], last[i]) end
    end
  end
end

local rules = {}
for i = 4, #ARGV, 3 do
  local name = ARGV[i]
  rules[name] = {
    name = name, at_once = tonumber(ARGV[i + 1]), window = tonumber(ARGV[i + 2]),
    rotation = base .. ':rotation:' .. name, held = base .. ':held:' .. name,
    keys = base .. ':limit_keys:' .. name,
  }
end
if not query('HLEN', KEYS[1]) then note('', KEYS[1], 'type') end
check_permits()
check_throttled(rules)
for i = 4, #ARGV, 3 do check_name(rules[ARGV[i]]) end
if repairs and moved then redis.pcall('SPUBLISH', KEYS[5], 'work') end
return found
