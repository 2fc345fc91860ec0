-- Purpose: count what scan.lua scans; part of the scripts that read requests and frames.
-- KEYS: none of its own.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: none.
-- Cost: O(1).

-- Number of brackets and strings that this script has scanned.
local scanned = 0
