-- Purpose: lease requests in steps that can be undone, by bounded reads of lists; part of poll.lua.
-- KEYS: of poll.lua; lists are passed in.
-- ARGV: of poll.lua.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per request.

-- Returns a command's reply, or nil: an error is noted, and earlier steps stay valid.
local function query(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if notes[1] ~= '' then return end
  local command, key = ...
  notes[1] = reply.err .. '; ' .. command .. ' ' .. key
end

-- Runs a step of leasing: it leases all of its elements, or none; then the error is noted. Returns
-- how many elements it took.
local function lease_step(step, ...)
  if notes[1] ~= '' or scanned > MAX_SCANNED then return 0 end
  local before = bytes
  local ok, result = pcall(step, ...)
  if not ok then
    rare = rare or unusual()
    rare.undo_step()
    notes[1], bytes, count, result = rare.text_of(result), before, kept, 0
  end
  noted, off = 0, 0
  kept, moves = count, 0
  leased, stored = 0, false
  return result
end

-- Leases a request. Returns its id, or nil.
local function lease(raw)
  local head = #raw > 4096 and string.sub(raw, 1, 4096) or raw
  local id = #raw <= max_request and string.match(head, '^%s*{%s*"id"%s*:%s*"([%w_-]+)"')
  if not id or #id > 64 or redis.call('HSETNX', KEYS[4], id, own) == 0 then
    rare = rare or unusual()
    id = rare.judge(raw)
    if not id then return nil end
  end
  leases[leased + 1], leases[leased + 2] = id, raw
  leased = leased + 2
  taken[count + 1], taken[count + 2], taken[count + 3] = id, raw, ''
  count = count + 3
  return id
end

-- Stores the leases of this step, and reads their marks.
local function keep()
  if leased == 0 then return end
  redis.call('HSET', KEYS[3], unpack(leases, 1, leased))
  stored = true
  if not has_history and not has_cancelled then return end
  local ids = { nil }
  for i = 1, leased, 2 do ids[(i + 1) / 2] = leases[i] end
  local records = has_history and redis.call('HMGET', KEYS[11], unpack(ids))
  local cancelled = has_cancelled and redis.call('ZMSCORE', KEYS[12], unpack(ids))
  for i = 1, #ids do
    taken[kept + 3 * i] = cancelled and cancelled[i] and 'C' or records and records[i] or ''
  end
end

-- Pops up to `number` elements of a list, and leases or partitions them until `up_to` requests are
-- taken. Returns how many it took off the list. `is_last` is true if the list is the queue and has
-- one element, and no request of a limited name is partitioned.
local function take_step(key, number, up_to, is_last)
  local raws = redis.call('LPOP', key, number)
  if not raws then return 0 end
  local many, before = #raws, bytes
  popped, popped_from, off = raws, key, many
  for i = 1, many do bytes = bytes + #raws[i] end
  -- An element that would exceed the limit of a poll goes back; but an oversized one is read once.
  if before > 0 and bytes > max_bytes and #raws[1] <= max_request then many = 0 end
  for i = 1, many do
    local full, rule, place = scanned > MAX_SCANNED, nil, nil
    if limits and not full then rule, place = limits.rule_of(raws[i]) end
    if full or (not rule and count / 3 >= up_to) then
      many = i - 1
      break
    elseif not rule then
      lease(raws[i])
    elseif not (is_last and limits.lease_only(raws[i], rule, place)) then
      limits.partition(raws[i], rule, place)
    end
  end
  for i = #raws, many + 1, -1 do
    redis.call('LPUSH', key, raws[i])
    off, bytes = i - 1, bytes - #raws[i]
  end
  if moves > 0 then limits.count_partitioned() end
  keep()
  return many
end

-- Takes from the head of a list of that `length` until `up_to` requests are taken. Returns how many
-- elements are left. A refused element uses no capacity, but it stops after a hundred.
local function take_list(key, up_to, length)
  local left, known_small = length, nil
  while left > 0 and kept / 3 < up_to and partitioned < 1000 and #notes <= 100 do
    -- As many as were partitioned may be read beyond the capacity.
    local wanted = math.min(up_to - kept / 3 + partitioned, left, 250)
    if wanted > 1 then
      known_small = known_small or sizes()
      -- May be forbidden to this user: then elements are popped one by one.
      local max = math.min(max_bytes - bytes, TOGETHER)
      local ok, small = pcall(known_small, key, wanted, left, max)
      wanted = ok and small > 1 and small or 1
    end
    if wanted == 1 and bytes > room_limit and bytes > 0 then break end
    local number = wanted == 1 and '1' or string.format('%d', wanted)
    local is_last = length == 1 and key == KEYS[1] and not has_limited
    local many = lease_step(take_step, key, number, up_to, is_last)
    if many == 0 then break end
    left = left - many
  end
  return left
end
