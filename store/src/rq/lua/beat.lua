-- Purpose: renew a gateway's lease, and find jobs of gateways whose leases have ended, and jobs
--   that are sent later.
-- KEYS: 1 gateways (sorted set: id, end of its lease in Redis ms), 2 later (list)
-- ARGV: 1 the gateway's id, 2 its lease (ms), 3 beginning of the keys of inboxes, 4 most inboxes
-- Returns: {1 if there are jobs that are sent later, else 0; the ids of ended gateways whose
--   inboxes hold jobs}
-- Derived keys: ARGV 3 and the id of each ended gateway.
-- Cost: O(log(gateways) + ended gateways).
local now = now_ms()
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local ended = {}
local all = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[4])
for _, id in ipairs(all) do
  if redis.call('TYPE', ARGV[3] .. id).ok == 'list' then
    ended[#ended + 1] = id
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return { redis.call('TYPE', KEYS[2]).ok == 'list' and 1 or 0, ended }
