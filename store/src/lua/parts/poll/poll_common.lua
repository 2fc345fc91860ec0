-- Purpose: the first arguments of both scripts of a poll; part of poll_fast.lua and poll.lua.
-- KEYS: none of its own.
-- ARGV: of the script it is part of: 1 worker id, 2 maximum number of requests to lease, 3 of
--   bytes, 4 limits of dead letters, 5 their age (ms), 6 base of the queue's keys, 7 serial of the
--   poll, 8 '1' if it was sent before and its reply was lost, 9 the largest request (bytes)
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1).
local worker, base, max_request = ARGV[1], ARGV[6], tonumber(ARGV[9])

-- The errors of leasing and of settling: text, or empty; then the code of each element that was
-- refused here.
local notes = { '', '' }

-- The holder of this worker's live ids, as in live.lua.
local own = worker .. string.rep(' ', 65 - #worker)
