-- Purpose: the first arguments of both scripts of a poll; part of poll_fast.lua and poll.lua.
-- KEYS: none of its own.
-- ARGV: of the script it is part of: 1 worker id, 2 maximum number of requests to lease, 3 of
--   bytes, 4 limits of dead letters, 5 their age (ms), 6 base of the queue's keys, 7 serial of the
--   poll, 8 '1' if it was sent before and its reply was lost, 9 the largest request (bytes)
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1).
local worker, take, max_bytes, base = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[6]
local max_request = tonumber(ARGV[9])

-- The errors of leasing and of settling: text, or empty; then the code of each element that was
-- refused here.
local notes = { '', '' }

-- Returns the notes for the reply: false if all are empty, as in most polls.
local function reply_notes()
  return (#notes > 2 or notes[1] ~= '' or notes[2] ~= '') and notes
end
