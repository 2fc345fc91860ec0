-- Purpose: trim a stream to a number of bytes of Redis's memory, after a large entry was added.
-- KEYS: 1 the stream
-- ARGV: 1 bytes
-- Returns: the number of remaining entries
-- Derived keys: none.
-- Cost: O(nodes of the stream).
cut_back(KEYS[1], tonumber(ARGV[1]))
return redis.call('XLEN', KEYS[1])
