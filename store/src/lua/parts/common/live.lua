-- Purpose: the values of the hash of live ids: the worker that holds each lease; part of the
--   scripts that write or read them.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1).

-- Redis keeps a hash of up to 512 short entries as a list, and searches it linearly for each id.
-- One value of more than 64 bytes makes it a table: the worker's id, padded.
local function holder(worker)
  return worker .. string.rep(' ', 65 - #worker)
end

local function worker_of(holder)
  return holder and string.match(holder, '^%S*')
end

-- The value for deferred requests, which no worker holds. It is not a valid worker id.
local DEFERRED = '(deferred)'
