-- Purpose: give one member of a consumer group its next event, and take over events of dead
--   members; members call only this script and XACK.
-- KEYS: 1 events (stream)
-- ARGV: 1 group, 2 member, 3 id after which a new group begins, or $: the newest one; 4 idle time
--   (ms) after which an unacknowledged event goes to another member; 5 idle time (ms) after which a
--   member is deleted; 6 join: only create the group
-- Returns: {missed, entry, again}. missed: how many events were trimmed before the group read
--   them, negative if unknown; entry: as XRANGE returns it, absent if there is none; again: set if
--   another member had it before.
-- Derived keys: none.
-- Cost: O(members + entries of a node of the stream).
if redis.call('EXISTS', KEYS[1]) == 0 then return { 0, false, 0 } end

local function named(list)
  local fields = {}
  for field = 1, #list, 2 do fields[list[field]] = list[field + 1] end
  return fields
end

local about = named(redis.call('XINFO', 'STREAM', KEYS[1]))
local gone = about['entries-added'] - about['length']
local function find()
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local fields = named(group)
    if fields['name'] == ARGV[1] then return fields end
  end
end
local group, missed = find(), 0
if not group then
  if ARGV[3] == '$' then
    redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '$', 'ENTRIESREAD', about['entries-added'])
  else
    redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[3])
  end
  group = find()
end

if ARGV[6] == 'join' then return { 0, false, 0 } end

-- Takes over events that were unacknowledged too long. Deleted entries are only counted.
local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[4], '0-0', 'COUNT', 1)
missed = missed + #claimed[3]
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local member = named(consumer)
  if member['pending'] == 0 and member['idle'] > tonumber(ARGV[5]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], member['name'])
  end
end
if claimed[2][1] then return { missed, claimed[2][1], 1 } end

local read = redis.call(
  'XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], '>')
if not read then return { missed, false, 0 } end
-- The oldest stored entry is after the group's last one: entries between them may be trimmed.
local entry = read[1][2][1]
if about['first-entry'] and about['first-entry'][1] == entry[1] then
  local before = group['entries-read']
  if not before then
    if gone > 0 then missed = -1 end
  elseif gone > before then
    missed = missed + gone - before
  end
end
return { missed, entry, 0 }
