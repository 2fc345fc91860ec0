-- Purpose: the states of monitored jobs; part of the scripts that change them.
-- KEYS: none of its own; the record of a job's states (stream, and channel) is handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per state.

-- Adds a state, given as the fields of its entry, and tells who monitors. Whatever else lies at
-- that key must not end the script: the job goes on without a record.
local function note_status(key, ttl, fields)
  local added = redis.pcall('XADD', key, 'MAXLEN', 64, '*', unpack(fields))
  if type(added) == 'table' and added.err then return end
  redis.call('PEXPIRE', key, ttl)
  -- Nobody can monitor what was not there. Else it may be forbidden to this user; the key is the
  -- truth.
  if fields[2] ~= 'Pending' then redis.pcall('SPUBLISH', key, fields[2]) end
end
