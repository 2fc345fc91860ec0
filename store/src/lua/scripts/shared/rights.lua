-- Purpose: find the commands that the user of this connection may not run. Runs none of them.
-- KEYS: none, since a key that the user may not use would fail the call.
-- ARGV: 1 a key of the queue, 2 a channel of it; then commands with their arguments, a text each:
--   words separated by blanks, in which K stands for the key and C for the channel
-- Returns: the positions of the refused commands, from 1. A command that this server does not know
--   is not refused.
-- Derived keys: none.
-- Cost: O(commands).
local refused = {}
for i = 3, #ARGV do
  local words = {}
  for word in string.gmatch(ARGV[i], '%S+') do
    words[#words + 1] = word == 'K' and ARGV[1] or word == 'C' and ARGV[2] or word
  end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(words))
  if known and not allowed then refused[#refused + 1] = i - 2 end
end
return refused
