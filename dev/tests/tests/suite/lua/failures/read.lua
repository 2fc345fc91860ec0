-- Purpose: read all that a server holds in lists, hashes and streams.
-- KEYS: none.
-- ARGV: none.
-- Returns: {{key, {text, ...}}, ...}. The texts of a list are its elements; of a hash, fields and
--   values in turns; of a stream, `id` and `request` of each entry.
-- Derived keys: all.
-- Cost: O(all that there is).
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, texts = redis.call('TYPE', key).ok, nil
  if kind == 'list' then
    texts = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'hash' then
    texts = redis.call('HGETALL', key)
  elseif kind == 'stream' then
    texts = {}
    for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
      local of = {}
      for i = 1, #entry[2], 2 do of[entry[2][i]] = entry[2][i + 1] end
      texts[#texts + 1] = of.id or ''
      texts[#texts + 1] = of.request or ''
    end
  end
  if texts then all[#all + 1] = { key, texts } end
end
return all
