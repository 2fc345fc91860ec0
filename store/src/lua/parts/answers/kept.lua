-- Purpose: a sample of the keys that keep answers until a caller deletes them or their TTL ends;
--   part of the scripts that put answers there.
-- KEYS: none of its own; the key that keeps an answer is passed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: answers of the queue.
-- Cost: O(1), and a command per 64 KiB of answers.

-- The number of bytes that a key of the sample represents; a larger one represents more.
local SHARE = 65536
local weighed

-- Counts `bytes` that were stored at `key`, and notes the key that completes another 64 KiB. The
-- count starts at a value from the end of the first key: ids end in random digits. The key has
-- `frames` frames now, if that is given: one or two are an answer after a `pending` frame, more are
-- a stream that was not read to its end, and all of it counts.
local function weigh(key, bytes, frames)
  if frames and frames > 2 then
    local used = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')
    if type(used) == 'number' then bytes = used end
  end
  if not weighed then
    local a, b, c, d = string.byte(key, -4, -1)
    weighed = (((a * 31 + b) * 31 + c) * 31 + d) * 40503 % SHARE
  end
  weighed = weighed + bytes
  if weighed < SHARE then return end
  local shares = math.floor(weighed / SHARE)
  weighed = weighed - shares * SHARE
  local base, what = string.match(key, '^(.*):([^:]+:[^:]+)$')
  -- A key of another type must not end the script.
  redis.pcall('HSET', base .. ':answers', what, string.format('%.0f', shares * SHARE))
  redis.pcall('PEXPIRE', base .. ':answers', '34560000000')
end
