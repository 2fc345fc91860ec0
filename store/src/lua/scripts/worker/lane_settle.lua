-- Purpose: settle a lane inbox with one request: its handler has answered, or no caller waits. It
--   is on the path of every waited call, so it has one outcome, and no functions of its own.
-- KEYS: 1 lane inbox (list), 2 its poll record (string), 3 response key (list; only with a frame)
-- ARGV: 1 what the reply answers: number of the inbox and serial, each with a space after it; then
--   only with a frame: 2 the frame, 3 ttl (ms), 4 channel (empty: none)
-- Returns: ARGV 1 and a character: '1' settled, '0' the inbox is empty: its request was taken over,
--   'E' it has other elements, or a command failed: nothing has changed, and adopt.lua sorts it out
-- Derived keys: answers of the queue.
-- Cost: O(1).
-- The fence: the request is the only element.
local held = redis.pcall('LLEN', KEYS[1])
if held ~= 1 then return ARGV[1] .. (held == 0 and '0' or 'E') end
local key, frame, pushed = KEYS[3], ARGV[2], 0
if key then
  pushed = redis.pcall('RPUSH', key, frame)
  if type(pushed) ~= 'number' then return ARGV[1] .. 'E' end
  local kept = redis.pcall('PEXPIRE', key, ARGV[3])
  if kept == 1 then weigh(key, #frame, pushed) end
  held = kept == 1 and held or 0
end
if held == 0 or redis.pcall('DEL', KEYS[1]) ~= 1 then
  -- The second command is for users without the right to the first.
  if key and type(redis.pcall('RPOP', key)) == 'table' then redis.pcall('LTRIM', key, 0, -2) end
  return ARGV[1] .. 'E'
end
redis.pcall('SET', KEYS[2], ARGV[1] .. '1', 'PX', '60000')
if key and ARGV[4] ~= '' then
  if #frame > 8192 then frame = '"' .. string.match(key, '[^:]*$') .. '"' end
  -- May be forbidden to this user; the key is authoritative.
  redis.pcall('SPUBLISH', ARGV[4], '[' .. frame .. ']')
end
return ARGV[1] .. '1'
