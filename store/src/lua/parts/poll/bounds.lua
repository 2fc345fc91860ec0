-- Purpose: the bounds of both scripts of a poll; part of poll_fast.lua and poll.lua.
-- KEYS: none of its own.
-- ARGV: as in poll_common.lua.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1).
local take, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])

-- The maximum number of bytes after which another element of unknown size may be read.
local room_limit = max_bytes - math.min(max_request, max_bytes / 2)

-- The maximum number of bytes that are read together. Redis needs 2 ms for each MiB, and no command
-- returns the size of a list's element.
local TOGETHER = 4194304

-- The maximum number of elements that go back from an inbox in one script, in addition to their
-- bytes.
local MAX_RETURNED = 1000

-- The length of a queue that is only known not to be empty.
local UNCOUNTED = 1000000000

-- The maximum number of brackets and strings to scan, except those of one element.
local MAX_SCANNED = 20000
