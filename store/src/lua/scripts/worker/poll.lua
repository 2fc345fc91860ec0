-- Purpose: one worker's poll on one queue: settle ended requests, then lease new ones up to the
--   worker's capacity. One script, so that a busy worker needs one command a poll. It handles every
--   kind of request; most polls have only plain ones, which poll_fast.lua handles.
-- KEYS: 1 queue list, 2 inbox list, 3 leases (hash), 4 live (hash), 5 dead (stream), 6 names
--   (zset), 7 parked names (set), 8 workers (zset), 9 poll of this worker (string), 10 paused
--   (string), 11 attempts (hash), 12 cancelled (zset), 13 permits (hash), 14 limited names (hash),
--   15 throttled (zset), 16 control (channel), 17 schedule (zset), 18 scheduled (hash); then, by
--   the indices in ARGV: response keys, channels, parked lists, idem records, records of deferred
--   requests, states, statuses, starts (strings) of signed requests
-- ARGV: 1 to 9 as in poll_common.lua; 10 count P of parked lists to take from first, 11 count L of
--   limited names, 12 count S of outcomes; then P times: key index, name; L times: name, field of
--   the data to count by (empty: none), maximum that runs at once (0: no limit), us per request (0:
--   no rate), requests of a burst, this worker's capacity for it (-1: no limit); S times: op, id,
--   key index of the response list (0: none), frame, ttl (ms), key index of the channel (0: none),
--   note (error code, job name, delay in ms, or attempt), reason, run (JSON, empty: none), key
--   index of the idem record (0: none), its ttl (ms; 0: delete it); and for an op with suffix `+X`,
--   X times: kind of the extra, key index, text, more
--   ops: answer (push the frame), done (no caller waits), dead_letter (write a dead letter; and
--   push the frame if there is a key), refuse (the same if there is no key, else only push the
--   frame; but only write a dead letter if its id is that of another request), reject (refuse, and
--   write a dead letter in any case), back (to the head of the queue), rerun (the same, and it
--   counts as a run; as a crash as well, if that run is given), retry (to the schedule; and push
--   the frame if there is a key), unknown (park it if a live worker handles the name, else answer
--   or dead_letter; reason is the key index of the parked list), defer (a completion token settles
--   it within `note` ms; reason is the key index of its record, run the record's fields, a flat
--   JSON array; and push the frame if there is a key)
--   extras: state (the state of a service instance, a hash, becomes this text, and is deleted if it
--   is empty; more: "<version> <ttl ms> <seal, or empty>"; if Redis has another version the request
--   runs again), seen (the start of a signed request, a string: it has ended, and is remembered
--   until then; more: Redis ms), status (the states of a tracked job, a list, get this end: the
--   state and its further fields as JSON; more: <ttl ms>)
-- Returns: {results, length, parked, {id, raw, mark, ...}, state, ready, due, more, notes, read}.
--   results: one character per outcome: '1' settled, '0' refused because the lease is lost, 'P'
--   parked, 'E' it failed and changed nothing: the lease is kept. length: of the queue afterwards,
--   -1 if it was not requested, 1,000,000,000 if it or the inbox is only known not to be empty.
--   parked: number of names with parked requests. Then the leased requests; mark: 'C' cancelled,
--   else its record (JSON) or empty. state: 1 the queue is paused, 2 the worker's own lease has
--   ended (it has to send a heartbeat first), else 0; nothing is leased in states 1 and 2. ready: 1
--   if more partitioned requests could be leased. due: when a rate allows the next one (ms), 0 for
--   none. more: 0 if poll_fast.lua can do the next poll; above 0 also if this poll has removed the
--   last special request. notes: the errors of leasing and of settling (text, or empty), then the
--   error code of each element that could not be leased and was dead-lettered; nil if all are
--   empty. read: bytes of all elements that were read.
-- Derived keys: response:<id> and status:<id> of callers that joined a call;
--   limited:<name>:<key>, rotation:<name>, held:<name>, running:<name>:<key>, limit_keys:<name>,
--   rate:<name>:<key> of limited names; those of deferred.lua and refusal.lua.
-- Cost: O(outcomes + taken), and 2 ms per MiB of elements, of which 8 MiB are read, or one element;
--   with limited names O(up to 1,000 partitioned) more. An element without an id in its first 4
--   KiB, over the limit or with a live id cannot be leased and is dead-lettered here.
local parked_count, limit_count = tonumber(ARGV[10]), tonumber(ARGV[11])
local outcome_count, results = tonumber(ARGV[12]), ''
if outcome_count > 0 then
  -- A poll that was sent before may have taken effect: then it has stored its results.
  local text = ARGV[8] == '1' and redis.call('GET', KEYS[9]) or ''
  local serial, reply = string.match(text, '^(%S+) (%S*)$')
  results = serial == ARGV[7] and reply
    or settle_all(13 + 2 * parked_count + 6 * limit_count, outcome_count)
end

-- Leasing -------------------------------------------------------------------------------------

-- A worker whose lease has ended leases nothing more: other workers would take over the requests of
-- a stalled worker's blocked pop, and count one more crash each.
local state, only_settles = 0, take < 0
if paused then
  state = 1
elseif not only_settles then
  local alive = query('ZSCORE', KEYS[8], worker)
  if notes[1] == '' and (not alive or tonumber(alive) <= now_ms()) then state = 2 end
end
local stopped = only_settles or state > 0 or notes[1] ~= ''

-- An element that a blocked pop has moved belongs to this worker, with or without capacity. One per
-- poll: a pop moves one, and nothing shows the sizes of others.
local has_popped = false
if state > 0 and not only_settles then
  local moved = 0
  for _ = 1, MAX_RETURNED do
    local raw = moved < TOGETHER and query('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT')
    if not raw then break end
    moved = moved + #raw
  end
elseif not stopped then
  if limit_count > 0 then limits = limited() end
  has_popped = lease_step(take_step, KEYS[2], '1', math.huge) > 0
  take = take + partitioned
end
local more = not stopped and (notes[1] ~= '' or scanned > MAX_SCANNED)
if not stopped then
  for i = 1, parked_count do
    local key, name = KEYS[tonumber(ARGV[11 + 2 * i])], ARGV[12 + 2 * i]
    local left = take_list(key, take, query('LLEN', key) or 0)
    if left == 0 and redis.call('EXISTS', key) == 0 then query('SREM', KEYS[7], name) end
  end
end

local ready, length = 0, nil
if stopped then
  ready = has_limited and limit_count > 0 and state == 0 and 1 or 0
elseif limit_count == 0 then
  if take > kept / 3 then length = take_list(KEYS[1], take, query('LLEN', KEYS[1]) or 0) end
else
  -- Notes when the first throttled key may continue.
  local function find_due()
    local first = query('ZRANGE', KEYS[15], '0', '0', 'WITHSCORES') or {}
    throttles, due = first[2] and true, tonumber(first[2] or 0)
  end
  if has_limited then find_due() end
  if throttles and due <= now_ms() then lease_step(limits.wake) end
  -- Half of the capacity is for partitioned requests, alternating if it is one. While the queue
  -- holds more than is partitioned at once, the next key of the rotation is unknown: then they get
  -- one.
  local all = query('LLEN', KEYS[1]) or 0
  local max, before = all > 1000 and 1 or take, kept / 3
  if has_limited then
    limits.draw(math.min(max, math.floor((take - kept / 3 + tonumber(ARGV[7]) % 2) / 2)))
  end
  max = max - (kept / 3 - before)
  length = take_list(KEYS[1], take, all)
  if has_limited then limits.draw(math.min(max, take - kept / 3)) end
  for i = 1, has_limited and limit_count or 0 do
    local rule, keys = limits.order[i], { nil }
    for key in pairs(rule.added or keys) do keys[#keys + 1] = key end
    if keys[1] then redis.pcall('SADD', base .. ':limit_keys:' .. rule.name, unpack(keys)) end
    if ready == 0 and rule.room ~= 0 then ready = redis.call('EXISTS', rule.rotation) end
  end
  if throttles then find_due() end
end
for name in pairs(freed) do
  if redis.call('EXISTS', base .. ':rotation:' .. name) == 1 then
    -- Its permits are free, and this worker did not take them.
    redis.pcall('SPUBLISH', KEYS[16], 'work')
    break
  end
end

-- Remove the entries of an undone step.
for i = #taken, count + 1, -1 do taken[i] = nil end
if has_popped then
  -- One command for both lists. The rest of the inbox is for the next polls.
  length = query('EXISTS', KEYS[1], KEYS[2]) == 0 and 0 or UNCOUNTED
elseif take == -2 then
  length = -1
elseif not length or notes[1] ~= '' then
  length = query('LLEN', KEYS[1]) or 0
end
-- The next poll goes on with the inbox: a length above 0 triggers it.
if more then length = math.max(length, 1) end
-- A feature whose last request this poll has removed is found missing by the next.
local is_special = has_parked or paused or has_history or has_cancelled
  or has_permits or has_limited
return { results, length, has_parked and query('SCARD', KEYS[7]) or 0, taken, state, ready, due,
  is_special and 1 or 0, (#notes > 2 or notes[1] ~= '' or notes[2] ~= '') and notes, bytes }
