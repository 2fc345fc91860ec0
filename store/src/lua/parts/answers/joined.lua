-- Purpose: the states of tracked jobs that have joined a call and end with it; part of the scripts
--   that end calls.
-- KEYS: none of its own; the record of a job's states (list, and channel) is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1) per state.

-- Parses the entry of a caller that has joined a call: "<TTL of the answer, ms> <channel or ->",
-- and " <TTL of its states, ms>" if they are kept.
local function wants_of(waiter)
  local ttl, channel, kept = string.match(waiter, '^(%d+) (%S+) ?(%d*)$')
  return ttl, channel ~= '-' and channel or nil, kept ~= '' and kept or nil
end

-- Adds the end of a final frame to the states; `tail` is that frame without its first two fields.
local function note_end(key, ttl, tail)
  local fields = ',"attempt":' .. (string.match(tail, '"attempt":(%d+)') or '0')
  if string.find(tail, '^,"type":"result"') then
    return note_status(key, ttl, 'Success', fields)
  end
  -- The frame may have megabytes: only code and message are read.
  local opens = find_field(tail, 0, 'error')
  local function text(name)
    local at = opens and find_field(tail, opens, name)
    local literal = at and literal_at(tail, at)
    return literal and string.byte(literal) == 34 and meaning(literal)
  end
  local message = text('message') or ''
  if #message > 1024 then
    -- Do not cut within a character.
    message = string.gsub(string.sub(message, 1, 1024), '[\192-\255]?[\128-\191]*$', '')
  end
  local code = text('code') or 'internal'
  note_status(key, ttl, 'Error', fields .. ',"error":{"code":' .. cjson.encode(code)
    .. ',"message":' .. cjson.encode(message) .. '}')
end
