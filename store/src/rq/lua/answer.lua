-- Purpose: read the answer of an rq worker without removing it.
-- KEYS: 1 the response key (list, whose last element is the gateway's own)
-- ARGV: 1 most bytes of an answer
-- Returns: {} if there is none; {length, answer}; {length} if the answer is over ARGV 1; {-1} if
--   the key is not a list
-- Derived keys: none.
-- Cost: O(1).
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {} end
if kind ~= 'list' then return { -1 } end
-- Workers push to the left: the first answer is before the last element.
local answer = redis.call('LINDEX', KEYS[1], -2)
if not answer then return {} end
if #answer > tonumber(ARGV[1]) then return { #answer } end
return { #answer, answer }
