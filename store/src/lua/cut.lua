-- Purpose: cut a stream back to so many bytes of Redis's memory, after something large was added.
-- KEYS: 1 the stream
-- ARGV: 1 bytes
-- Returns: how many entries lie there
-- Derived keys: none.
-- Cost: O(nodes of the stream).
cut_back(KEYS[1], tonumber(ARGV[1]))
return redis.call('XLEN', KEYS[1])
