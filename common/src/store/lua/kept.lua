-- Purpose: how many bytes of answers are kept at keys that only callers or their TTL take away: a
--   sample of these keys; part of the scripts that put answers there.
-- KEYS: none of its own; the key that keeps an answer is handed in.
-- ARGV: none of its own.
-- Returns: nothing.
-- Derived keys: answers of the queue.
-- Cost: O(1), and a command per 64 KiB of answers.

-- For how many bytes a key of the sample stands, and more for one that has more.
local SHARE = 65536
local weighed

-- Counts `bytes` that were put at `key`; the key at which another 64 KiB are full is noted. The
-- count begins anywhere: ids end in what is as good as random.
local function weigh(key, bytes)
  if not weighed then
    local a, b, c, d = string.byte(key, -4, -1)
    weighed = (((a * 31 + b) * 31 + c) * 31 + d) * 40503 % SHARE
  end
  weighed = weighed + bytes
  if weighed < SHARE then return end
  local shares = math.floor(weighed / SHARE)
  weighed = weighed - shares * SHARE
  local base, what = string.match(key, '^(.*):([^:]+:[^:]+)$')
  -- What else may lie at that key must not end the script.
  redis.pcall('HSET', base .. ':answers', what, string.format('%.0f', shares * SHARE))
  redis.pcall('PEXPIRE', base .. ':answers', 34560000000)
end

-- How many bytes lie at `key`, at which now lie so many frames: the last one, of `size` bytes, is
-- alone there but for a `pending` frame, or ends a stream.
local function size_at(key, frames, size)
  local used = frames > 2 and redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')
  return type(used) == 'number' and used or size
end
