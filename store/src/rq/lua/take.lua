-- Purpose: move jobs of rq into a gateway's inbox, most urgent queue first, and read them.
-- KEYS: 1 inbox (list), 2 gateways (sorted set), then the sources (lists of job ids), most urgent
--   first
-- ARGV: 1 the gateway's id, 2 its lease (ms), 3 most jobs, 4 most bytes of one job's data, 5 bytes
--   of data after which no further job is taken, 6 beginning of the keys of jobs, 7 most bytes of
--   a job's id
-- Returns: a list of {id, state, data, taken at (Redis ms)} for each job. state: ok; type: the
--   key of the job is not a hash; absent: there is no such key; empty: the hash has no data; large:
--   the data are over ARGV 4; id: the id is over ARGV 7, cut, and not in the inbox. data and the
--   time are empty unless the state is ok.
-- Derived keys: ARGV 6 and the id of each job.
-- Cost: O(jobs taken + sources + log(gateways)).
local max, budget = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
-- In the same step: an inbox whose gateway is not registered would never be taken over.
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])

local function read(id)
  local key = ARGV[6] .. id
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return { id, 'absent', '', '' } end
  if kind ~= 'hash' then return { id, 'type', '', '' } end
  local length = redis.call('HSTRLEN', key, 'data')
  if length == 0 then return { id, 'empty', '', '' } end
  if length > max then return { id, 'large', '', '' } end
  -- A job that is taken over keeps the time of its first gateway.
  redis.call('HSETNX', key, 'redcall_taken_at', string.format('%.0f', now))
  local fields = redis.call('HMGET', key, 'data', 'redcall_taken_at')
  budget = budget - #fields[1]
  return { id, 'ok', fields[1], fields[2]:sub(1, 20) }
end

local jobs, room = {}, tonumber(ARGV[3])
for source = 3, #KEYS do
  local is_list = redis.call('TYPE', KEYS[source]).ok == 'list'
  while is_list and #jobs < room and budget > 0 do
    local id = redis.call('LINDEX', KEYS[source], 0)
    if not id then break end
    if #id > tonumber(ARGV[7]) then
      redis.call('LPOP', KEYS[source])
      jobs[#jobs + 1] = { id:sub(1, tonumber(ARGV[7])), 'id', '', '' }
    else
      -- First: a job that cannot be read stays where it is.
      local job = read(id)
      redis.call('LMOVE', KEYS[source], KEYS[1], 'LEFT', 'RIGHT')
      jobs[#jobs + 1] = job
    end
  end
end
return jobs
