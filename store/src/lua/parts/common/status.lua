-- Purpose: the states of tracked jobs; part of the scripts that change them.
-- KEYS: none of its own; the record of a job's states (list, and channel) is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per state, and a call to TIME.

-- Redis time in ms of all states that one script adds; a script that knows it may set it.
local noted_at

-- Adds a state, whose further fields are given as JSON, and publishes it. A value of another type
-- at that key must not end the script: the job continues without a record.
local function note_status(key, ttl, state, fields)
  noted_at = noted_at or now_ms()
  local entry = '{"status":"' .. state .. '","at_ms":' .. string.format('%.0f', noted_at)
  local count = redis.pcall('RPUSH', key, entry .. fields .. '}')
  if type(count) ~= 'number' then return end
  undo('RPOP', key)
  if count > 64 then redis.call('LTRIM', key, -64, -1) end
  redis.call('PEXPIRE', key, ttl)
  -- A job has no subscriber before its first state. Otherwise it may be forbidden to this user; the
  -- key is authoritative.
  if state ~= 'Pending' then redis.pcall('SPUBLISH', key, state) end
end
