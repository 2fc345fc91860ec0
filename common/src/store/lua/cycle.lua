-- Purpose: one worker's turn on one queue: settle what has ended, then lease what it has room
--   for. Both in one script, so that a busy worker needs one command a turn. Whatever can be in a
--   queue; most turns meet none of it, and go by plain.lua.
-- KEYS: 1 queue list, 2 inbox list, 3 leases (hash), 4 live (hash), 5 dead (stream), 6 names
--   (zset), 7 parked names (set), 8 workers (zset), 9 turn of this worker (string), 10 paused
--   (string), 11 history (hash), 12 cancelled (zset), 13 slots (hash), 14 limited names (hash),
--   15 later (zset), 16 control (channel), 17 schedule (zset), 18 scheduled (hash); then, by the
--   indices in ARGV: response keys, channels, parked lists, idem records
-- ARGV: 1 worker id, 2 how many requests to take at most, 3 how many bytes, 4 dead letters to
--   keep, 5 their age (ms), 6 base of the queue's keys, 7 serial of the turn, 8 '1' if it was sent
--   before and its reply was lost, 9 count P of parked lists to take from first, 10 count L of
--   limited names, 11 count S of outcomes; then P times: key index, name; L times: name, field of
--   the data to count by (empty: none), how many at once (0: any), us per request (0: no rate),
--   requests of a burst, how many this worker has room for (-1: any); S times: op, id, key index of
--   the response list (0: none), frame, ttl (ms), key index of the channel (0: none), note (error
--   code, job name, delay in ms, or attempt), reason, run (JSON, empty: none), key index of the
--   idem record (0: none), its ttl (ms; 0: forget it); and for an op with `+X` behind it X
--   times: kind of the extra, key index, text, more
--   ops: answer (push the frame), done (nobody asked), bury (to the dead letters; and push the
--   frame if there is a key), back (to the head of the queue), rerun (the same, and it counts as
--   a run; as a crash as well, if that run is given), retry (to the schedule; and push the frame
--   if there is a key), unknown (park it if a
--   live worker maps the name, else answer or bury; reason is the key index of the parked list),
--   later (whoever has its token answers it within `note` ms; reason is the key index of its
--   record, run the record's fields, a flat JSON array; and push the frame if there is a key)
--   extras: state (the state of a service's instance, a hash, gets this text, and ends without
--   one; more: "<version> <ttl ms>", and if another version is there the request is run again),
--   status (the states of a monitored job, a list, get this end: the state and its further
--   fields as JSON; more: <ttl ms>)
-- Returns: {results, length, parked, {id, raw, mark, ...}, state, ready, due, more}. results: one
--   character per outcome: '1' settled, '0' refused, since the lease is gone, 'P' parked. length:
--   of the queue afterwards. parked: how many names have parked requests. Then what was leased;
--   mark: 'C' cancelled, else its record (JSON) or empty. state: 1 the queue is paused, 2 the
--   worker's own lease has ended (it has to say first that it lives), else 0; nothing is leased
--   then. ready: 1 if sorted requests could go on. due: when a rate allows the next one (ms), 0
--   for none. more: 0 if plain.lua will do for the next turn.
-- Derived keys: response:<id> and status:<id> of callers that joined a call;
--   limited:<name>:<key>, turns:<name>, held:<name>, running:<name>:<key>, limit_keys:<name>,
--   rate:<name>:<key> of limited names; those of later.lua.
-- Cost: O(outcomes + taken); with limited names O(up to 1,000 sorted, of no more bytes than may be
--   taken) more. An element without a readable id or with a live one is buried here, since it
--   cannot be leased.
local parked_count, limit_count = tonumber(ARGV[9]), tonumber(ARGV[10])
local outcome_count = tonumber(ARGV[11])

-- Most calls meet none of these.
local paused, has_history, has_cancelled, has_slots, has_limited = false, false, false, false, false
if redis.call('EXISTS', KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]) > 0 then
  paused = redis.call('EXISTS', KEYS[10]) == 1
  has_history = redis.call('EXISTS', KEYS[11]) == 1
  has_cancelled = redis.call('EXISTS', KEYS[12]) == 1
  has_slots = redis.call('EXISTS', KEYS[13]) == 1
  has_limited = redis.call('EXISTS', KEYS[14]) == 1
end

-- Settling ------------------------------------------------------------------------------------

local ended, freed = {}, {}

local function hand_back(slot, raw)
  local name = to_head(base, KEYS[1], KEYS[14], slot, raw)
  if name then
    freed[name], has_limited = true, true
  end
end

-- Another run will come: what was counts in the record.
local function again(id, raw, op, note, run, slot)
  local record = recall(KEYS[11], id)
  has_history = true -- what goes back to the queue may be leased in this very turn
  if op == 'rerun' then
    record.attempt = tonumber(note)
    if run ~= '' then
      record.crashes = record.crashes + 1
      add_run(record, cjson.decode(run))
    end
    remember(KEYS[11], id, record)
    hand_back(slot, raw)
  else
    run = cjson.decode(run)
    record.attempt = run.attempt
    record.fails, record.pause = record.fails + 1, tonumber(note)
    add_run(record, run)
    remember(KEYS[11], id, record)
    if has_cancelled and redis.call('ZSCORE', KEYS[12], id) then
      -- Its worker has not heard so: it does not wait for an attempt that will not come.
      return redis.call('LPUSH', KEYS[1], raw)
    end
    local due = string.format('%.0f', now_ms() + tonumber(note))
    redis.call('ZADD', KEYS[17], due, id)
    redis.call('HSET', KEYS[18], id, raw)
    if redis.call('ZRANGE', KEYS[17], 0, 0)[1] == id then
      redis.pcall('SPUBLISH', KEYS[16], 'due ' .. due)
    end
  end
end

-- Whether a service's state is not what this outcome was made from.
local function is_stale(first, last)
  for at = first, last, 4 do
    if ARGV[at] == 'state' then
      local found = redis.pcall('HGET', KEYS[tonumber(ARGV[at + 1])], 'version')
      if (found or '0') ~= string.match(ARGV[at + 3], '^%d+') then return true end
    end
  end
  return false
end

local function write_extras(first, last)
  for at = first, last, 4 do
    local kind, key, text = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2]
    if kind == 'state' then
      local version, ttl = string.match(ARGV[at + 3], '^(%d+) (%d+)$')
      if text == '' then
        redis.call('DEL', key)
      else
        version = string.format('%.0f', version + 1)
        redis.call('HSET', key, 'state', text, 'version', version)
        redis.call('PEXPIRE', key, ttl)
      end
    end
  end
end

-- Not before it is certain that the request has ended, and is not parked.
local function end_status(first, last)
  for at = first, last, 4 do
    if ARGV[at] == 'status' then
      local key = KEYS[tonumber(ARGV[at + 1])]
      note_status(key, ARGV[at + 3], string.match(ARGV[at + 2], '^(%a+)(.*)$'))
    end
  end
end

local function history_of(id, run)
  local record = has_history and recall(KEYS[11], id) or {}
  if run ~= '' then add_run(record, cjson.decode(run)) end
  return record.runs and cjson.encode(record.runs)
end

-- Out of its worker's hands: its id stays live, so that its like is refused.
local function put_off(id, raw, at)
  local call, within = KEYS[tonumber(ARGV[at + 9])], tonumber(ARGV[at + 6])
  keep_for_later(base, id, KEYS[tonumber(ARGV[at + 7])], within, {
    'raw', raw, 'worker', worker, 'dead_max', dead.max, 'dead_age', dead.age,
    'idem', call or '', 'keep', ARGV[at + 10], unpack(cjson.decode(ARGV[at + 8])),
  })
  redis.call('HSET', KEYS[4], id, holder(LATER))
end

-- The op of an outcome, and where its extras begin and end: most have none, and pay for none.
local function op_of(at)
  local op, first = ARGV[at], at + 11
  local plus = string.find(op, '+', 1, true)
  if not plus then return op, first, first - 1 end
  return string.sub(op, 1, plus - 1), first, first - 1 + 4 * tonumber(string.sub(op, plus + 1))
end

local function settle(at, op, first, last)
  local id, key, frame = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], ARGV[at + 3]
  local ttl, channel = ARGV[at + 4], KEYS[tonumber(ARGV[at + 5])]
  local note, reason, run = ARGV[at + 6], ARGV[at + 7], ARGV[at + 8]
  local stale = is_stale(first, last)
  if stale then op = 'back' end
  local raw = false
  if op ~= 'answer' and op ~= 'done' then raw = redis.call('HGET', KEYS[3], id) end
  if redis.call('HDEL', KEYS[3], id) == 0 then return '0' end -- the fence
  if op ~= 'later' then ended[#ended + 1] = id end
  local slot
  if has_slots then
    local name
    name, slot = give_back(base, KEYS[13], id)
    if name then freed[name] = true end
  end
  if stale then
    -- Its handler has run: the next time is another run.
    again(id, raw, 'rerun', recall(KEYS[11], id).attempt + 1, '', slot)
    return '0'
  end
  if op == 'back' then
    hand_back(slot, raw)
    return '1'
  end
  write_extras(first, last)
  if op == 'unknown' then
    local until_ms = redis.call('ZSCORE', KEYS[6], note)
    if until_ms and tonumber(until_ms) > now_ms() then
      redis.call('RPUSH', KEYS[tonumber(reason)], raw)
      redis.call('SADD', KEYS[7], note)
      return 'P'
    end
    if not key then
      bury(raw, id, 'unknown_job', 'no live worker maps `' .. note .. '`', history_of(id, run))
    end
  end
  if op == 'later' then
    put_off(id, raw, at)
  elseif op == 'rerun' or op == 'retry' then
    again(id, raw, op, note, run, slot)
  else
    if op == 'bury' then bury(raw, id, note, reason, history_of(id, run)) end
    end_status(first, last)
    if has_history then redis.call('HDEL', KEYS[11], id) end
    if has_cancelled then redis.call('ZREM', KEYS[12], id) end
    local record = KEYS[tonumber(ARGV[at + 9])]
    if record then end_call(base, record, id, frame, ARGV[at + 10]) end
  end
  if key then push(key, frame, ttl, channel, id) end
  if op == 'later' and has_cancelled and redis.call('ZSCORE', KEYS[12], id) then
    -- Its worker has not heard so: nobody waits for what will not be wanted.
    end_later(base, id, read_later(base, id), 'gone', 'cancelled')
  end
  return '1'
end

local results = said_before(KEYS[9])
if not results then
  local said, at = {}, 12 + 2 * parked_count + 6 * limit_count
  for i = 1, outcome_count do
    local op, first, last = op_of(at)
    said[i] = settle(at, op, first, last)
    at = last + 1
  end
  results = table.concat(said)
  if outcome_count > 0 then
    redis.call('SET', KEYS[9], ARGV[7] .. ' ' .. results, 'PX', 60000)
  end
end
for i = 1, #ended, 500 do
  redis.call('HDEL', KEYS[4], unpack(ended, i, math.min(i + 499, #ended)))
end
announce()

-- Leasing -------------------------------------------------------------------------------------

local taken, count, seen, bytes, leases = {}, 0, 0, 0, {}

-- The id, if the request is this worker's now.
local function lease(raw)
  seen = seen + 1
  local id = id_of(raw)
  if not id then
    bury(raw, '', 'invalid_request', 'not a JSON object with an `id` of 1 to 64 of [A-Za-z0-9_-]')
    return nil
  elseif redis.call('HSETNX', KEYS[4], id, holder(worker)) == 0 then
    bury(raw, id, 'invalid_request', 'a live request of this queue has the same id')
    return nil
  end
  local mark = ''
  if has_cancelled and redis.call('ZSCORE', KEYS[12], id) then
    mark = 'C'
  elseif has_history then
    mark = redis.call('HGET', KEYS[11], id) or ''
  end
  leases[#leases + 1] = id
  leases[#leases + 1] = raw
  taken[count + 1], taken[count + 2], taken[count + 3] = id, raw, mark
  count = count + 3
  bytes = bytes + #raw
  return id
end

local function keep()
  if #leases > 0 then redis.call('HSET', KEYS[3], unpack(leases)) end
  leases = {}
end

-- Limited names ---------------------------------------------------------------------------------

local rules, order, sorted, sorted_bytes = {}, {}, 0, 0
local throttles = false -- whether a key is in `later`
for i = 1, limit_count do
  local at = 12 + 2 * parked_count + 6 * (i - 1)
  rules[ARGV[at]] = {
    name = ARGV[at], field = ARGV[at + 1], at_once = tonumber(ARGV[at + 2]),
    interval = tonumber(ARGV[at + 3]), burst = tonumber(ARGV[at + 4]),
    room = tonumber(ARGV[at + 5]),
  }
  order[i] = rules[ARGV[at]]
end

-- The rule for a request and its place among the sorted ones, if its name is limited.
local function rule_of(raw)
  local name = string.match(raw, '^%s*{%s*"id"%s*:%s*"[%w_-]+"%s*,%s*"name"%s*:%s*"([^"\\]*)"')
  local request
  if not name then
    local ok, decoded = pcall(cjson.decode, raw)
    if not ok or type(decoded) ~= 'table' then return nil end
    name, request = decoded.name, decoded
  end
  local rule = rules[name]
  if not rule then return nil end
  if rule.field == '' then return rule, '' end
  local ok = true
  if not request then ok, request = pcall(cjson.decode, raw) end
  local data = ok and request.data
  if type(data) ~= 'table' then return rule, '' end
  local value = data[rule.field]
  if type(value) ~= 'string' and type(value) ~= 'number' and type(value) ~= 'boolean' then
    return rule, ''
  end
  value = tostring(value)
  -- Part of key names: short and plain.
  if #value > 64 or string.find(value, '[^%w_.@-]') then value = redis.sha1hex(value) end
  return rule, value
end

local function sort(raw, rule, key)
  local list = base .. ':limited:' .. rule.name .. ':' .. key
  local id = has_history and id_of(raw)
  local length
  if id and redis.call('HEXISTS', KEYS[11], id) == 1 then
    length = redis.call('LPUSH', list, raw)
  else
    length = redis.call('RPUSH', list, raw)
  end
  if length == 1 then begins_to_wait(base, rule.name, key) end
  redis.pcall('HINCRBY', KEYS[14], rule.name, 1)
  sorted = sorted + 1
  sorted_bytes = sorted_bytes + #raw
  has_limited = true
end

-- Takes one request of the key whose turn it is. Whether the name has to be asked again.
local function draw_one(rule)
  local turns = base .. ':turns:' .. rule.name
  local key = redis.call('LPOP', turns)
  if not key then return false end
  local of = rule.name .. ':' .. key
  local list, running = base .. ':limited:' .. of, base .. ':running:' .. of
  local rate = base .. ':rate:' .. of
  if rule.at_once > 0 and redis.call('SCARD', running) >= rule.at_once then
    redis.call('SADD', base .. ':held:' .. rule.name, key)
    return true
  end
  if rule.interval > 0 then
    local now = redis.call('TIME')
    now = now[1] * 1000000 + now[2]
    -- When the next one would be due at an even pace; a burst may be that much ahead.
    local pace = pace_of(rate, now, rule.interval * rule.burst)
    local ready = pace - rule.interval * (rule.burst - 1)
    if ready > now then
      throttles = true
      redis.call('ZADD', KEYS[15], string.format('%.0f', math.ceil(ready / 1000)),
        rule.name .. ' ' .. key)
      return true
    end
    pace = pace + rule.interval
    redis.call('SET', rate, string.format('%.0f', pace), 'PX',
      string.format('%.0f', math.ceil((pace - now) / 1000)))
  end
  local raw = redis.call('LPOP', list)
  if raw then
    if redis.call('HINCRBY', KEYS[14], rule.name, -1) <= 0 then
      redis.call('HDEL', KEYS[14], rule.name)
    end
    local id = lease(raw)
    keep()
    if id then
      redis.call('SADD', running, id)
      redis.call('HSET', KEYS[13], id, rule.name .. ' ' .. key)
      if rule.room > 0 then rule.room = rule.room - 1 end
    end
  end
  if redis.call('EXISTS', list) == 1 then
    redis.call('RPUSH', turns, key)
  else
    waits_no_more(base, rule.name, key)
  end
  return true
end

-- Draws up to `quota` sorted requests, the names in turns: each turn of a worker, which often has
-- room for one, begins with the next name.
local function draw(quota)
  local stop, tries = seen + quota, 2 * quota + 200
  local first = math.floor(tonumber(ARGV[7]) / 2)
  local going = true
  while going and seen < stop and bytes < max_bytes and tries > 0 do
    going = false
    for i = 1, #order do
      local rule = order[(first + i) % #order + 1]
      if rule.room ~= 0 and seen < stop and bytes < max_bytes then
        tries = tries - 1
        going = draw_one(rule) or going
      end
    end
  end
end

-- Taking ----------------------------------------------------------------------------------------

-- Takes from the head of a list in portions that grow with what the bytes so far allow. What would
-- go over the limit goes back, unless it is all that there is.
local function drain(key, up_to)
  local portion = 4
  while seen < up_to and bytes + sorted_bytes < max_bytes and sorted < 1000 do
    -- As many as were sorted may be looked at beyond what can be taken.
    local raws = redis.call('LPOP', key, math.min(portion, up_to - seen + sorted, 1000 - sorted))
    if not raws then return end
    for i = 1, #raws do
      local rule, place
      if limit_count > 0 then rule, place = rule_of(raws[i]) end
      if rule then
        sort(raws[i], rule, place)
      elseif seen >= up_to or (bytes > 0 and bytes + #raws[i] > max_bytes) then
        for j = #raws, i, -1 do redis.call('LPUSH', key, raws[j]) end
        return keep()
      else
        lease(raws[i])
      end
    end
    keep()
    local moved, left = bytes + sorted_bytes, max_bytes - bytes - sorted_bytes
    local average = moved > 0 and 2 * moved / (count / 3 + sorted) or 1
    portion = math.max(1, math.min(250, 2 * portion, math.floor(left / average)))
  end
end

-- A worker whose lease has ended leases nothing more: what a blocked pop of one that stands still
-- brings would only be taken over again, and count as one more crash.
local alive = redis.call('ZSCORE', KEYS[8], worker)
local state = paused and 1 or (alive and tonumber(alive) > now_ms()) and 0 or 2

-- What a blocked pop has moved is this worker's already, room or not.
if state > 0 then
  while redis.call('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT') do end
end
while true do
  local raw = redis.call('LPOP', KEYS[2])
  if not raw then break end
  local rule, place
  if limit_count > 0 then rule, place = rule_of(raw) end
  if rule then
    sort(raw, rule, place)
    take = take + 1
  else
    lease(raw)
  end
end
keep()

if state == 0 then
  for i = 1, parked_count do
    local key, name = KEYS[tonumber(ARGV[10 + 2 * i])], ARGV[11 + 2 * i]
    drain(key, take)
    if redis.call('EXISTS', key) == 0 then redis.call('SREM', KEYS[7], name) end
  end
end

local ready, due = 0, 0
if has_limited and limit_count > 0 and state == 0 then
  local first = redis.call('ZRANGE', KEYS[15], 0, 0, 'WITHSCORES')
  throttles = first[2] and true
  due = tonumber(first[2] or 0)
end
if throttles and due <= now_ms() then
  local passed = redis.call('ZRANGEBYSCORE', KEYS[15], '-inf', string.format('%.0f', now_ms()),
    'LIMIT', 0, 1000)
  for _, slot in ipairs(passed) do
    local name, key = limit_of(slot)
    redis.call('ZREM', KEYS[15], slot)
    redis.call('RPUSH', base .. ':turns:' .. name, key)
  end
end
if state > 0 then
  take = 0
elseif limit_count == 0 then
  drain(KEYS[1], take)
else
  -- Half of the room for those that wait sorted, by turns if it is one. As long as the queue holds
  -- more than is sorted at once, nobody knows whose turn it is: then they get one.
  local behind = redis.call('LLEN', KEYS[1]) > 1000
  local most, before = behind and 1 or take, seen
  if has_limited then
    draw(math.min(most, math.floor((take - seen + tonumber(ARGV[7]) % 2) / 2)))
  end
  most = most - (seen - before)
  drain(KEYS[1], take)
  if has_limited then draw(math.min(most, take - seen)) end
  for _, rule in pairs(rules) do
    local waits = rule.room ~= 0 and redis.call('EXISTS', base .. ':turns:' .. rule.name) == 1
    if waits then ready = 1 end
  end
  if throttles then
    local first = redis.call('ZRANGE', KEYS[15], 0, 0, 'WITHSCORES')
    due = tonumber(first[2] or 0)
  end
end
for name in pairs(freed) do
  if redis.call('EXISTS', base .. ':turns:' .. name) == 1 then
    -- Its slots are free, and this worker did not take them.
    redis.pcall('SPUBLISH', KEYS[16], 'work')
    break
  end
end

return { results, redis.call('LLEN', KEYS[1]), redis.call('SCARD', KEYS[7]), taken,
  state, ready, due,
  redis.call('EXISTS', KEYS[7], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]) }
