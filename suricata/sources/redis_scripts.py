"""What a Redis does for `sources.redis`, each in one step that nobody sees half of.

All keys of one source lie in one slot of a cluster. `partition`: a stream of a part of the flows;
its *lease*, a key with a lifetime, names the worker that reads it, and nobody else gets anything.

A full memory must not keep events from being taken out of it: `allow-oom`, of Redis 7.
"""

from __future__ import annotations

from typing import Final

PREPARE: Final = """#!lua flags=allow-oom
-- KEYS: what all workers agree on, partitions. ARGV: a name, number of partitions, group, where it
-- begins. Makes what is not there; answers name and number that count.
redis.call('HSETNX', KEYS[1], 'name', ARGV[1])
redis.call('HSETNX', KEYS[1], 'partitions', ARGV[2])
local agreed = redis.call('HMGET', KEYS[1], 'name', 'partitions')
if agreed[2] ~= ARGV[2] then return agreed end
for at = 2, #KEYS do
  local made = redis.pcall('XGROUP', 'CREATE', KEYS[at], ARGV[3], ARGV[4], 'MKSTREAM')
  if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
end
return agreed
"""

TAKE: Final = """#!lua flags=allow-oom
-- KEYS: inbox, partitions, their leases.
-- ARGV: group, worker, lease in ms, mode, how many to divide, bytes to read, number of partitions;
-- then for each partition that is to be read: its number, and where to begin with what is pending,
-- or '' for what is new.
-- Answers how many were divided; then for each: its number, whether anything more is pending, how
-- many had been, ids, lines; or its number alone, where the lease is another's.
local inbox, group, me, lease, mode = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local count, budget, parts = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

-- Suricata writes the flow's number behind the time; within a text its quotes are escaped.
local function partition(line)
  local flow = string.match(line, '^{"timestamp":"[^"]*","flow_id":(%d+)')
    or string.match(line, '"flow_id": ?(%d+)')
  if not flow then return KEYS[2] end
  -- A number of Lua's holds fifteen digits. Numbers that differ by any one step are spread.
  local high, low = string.sub(flow, -18, -10), string.sub(flow, -9)
  local mixed = (31 * (tonumber(high) or 0) + tonumber(low)) * 40503 % 65521
  return KEYS[2 + math.floor(mixed * parts / 65521)]
end

local moved = 0
if mode == 'stream' then
  for _, entry in ipairs(redis.call('XRANGE', inbox, '-', '+', 'COUNT', count)) do
    local line = entry[2][#entry[2]]
    redis.call('XADD', partition(line), '*', 'eve', line)
    redis.call('XDEL', inbox, entry[1])
    moved = moved + 1
  end
elseif mode ~= 'direct' then
  local pop, back = 'RPOP', 'RPUSH'
  if mode == 'rpush' then pop, back = 'LPOP', 'LPUSH' end
  local lines = redis.call(pop, inbox, count) or {}
  for at, line in ipairs(lines) do
    local added = redis.pcall('XADD', partition(line), '*', 'eve', line)
    if added.err then
      for left = #lines, at, -1 do redis.call(back, inbox, lines[left]) end
      return added
    end
    moved = moved + 1
  end
end

local answer = {moved}
for at = 8, #ARGV, 2 do
  local number, from = tonumber(ARGV[at]), ARGV[at + 1]
  local stream, holder = KEYS[2 + number], KEYS[2 + parts + number]
  if redis.call('GET', holder) ~= me then
    answer[#answer + 1] = {number}
  else
    redis.call('PEXPIRE', holder, lease)
    local ids, lines, old = {}, {}, 0
    while budget > 0 do
      local entries
      if from ~= '' then
        local claimed = redis.call('XAUTOCLAIM', stream, group, me, 0, from, 'COUNT', 64)
        from, entries = claimed[1], claimed[2]
        old = old + #entries
        if from == '0-0' then from = '' end
      else
        local read = redis.call(
          'XREADGROUP', 'GROUP', group, me, 'COUNT', 64, 'STREAMS', stream, '>')
        if not read then break end
        entries = read[1][2]
      end
      for _, entry in ipairs(entries) do
        local line = entry[2] and entry[2][#entry[2]]
        if line then
          -- One event is one line, whoever wrote it.
          if string.find(line, '\\n', 1, true) then
            line = string.gsub(string.gsub(line, '\\n+$', ''), '\\n', ' ')
          end
          ids[#ids + 1], lines[#lines + 1] = entry[1], line
          budget = budget - #line - 1
        end
      end
    end
    answer[#answer + 1] = {
      number, from == '' and 0 or 1, old, table.concat(ids, ' '), table.concat(lines, '\\n')}
  end
end
return answer
"""

HOLD: Final = """#!lua flags=allow-oom
-- KEYS: workers, inbox, partitions, their leases.
-- ARGV: worker, lease in ms, number of partitions, group, whether what is delivered is removed.
-- Renews what is held, and takes what is free, up to a fair share.
-- Answers how many workers there are, how many entries wait, how many of these were read and not
-- acknowledged, and the partitions that are held.
local workers, me, lease, parts = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', workers, now + lease, me)
redis.call('ZREMRANGEBYSCORE', workers, '-inf', '(' .. now)
redis.call('PEXPIRE', workers, lease * 2)
local present = redis.call('ZCARD', workers)
local mine, free = {}, {}
for number = 0, parts - 1 do
  local holder = KEYS[3 + parts + number]
  local who = redis.call('GET', holder)
  if who == me then
    redis.call('PEXPIRE', holder, lease)
    mine[#mine + 1] = number
  elseif not who then
    free[#free + 1] = number
  end
end
for _, number in ipairs(free) do
  if #mine * present >= parts then break end
  redis.call('SET', KEYS[3 + parts + number], me, 'PX', lease)
  mine[#mine + 1] = number
end
local function length(key)
  local kind = redis.call('TYPE', key)['ok']
  return kind == 'stream' and redis.call('XLEN', key) or kind == 'list' and redis.call('LLEN', key)
    or 0
end
local waiting, pending = KEYS[2] == KEYS[3] and 0 or length(KEYS[2]), 0
for number = 0, parts - 1 do
  local stream = KEYS[3 + number]
  -- No group, no summary: the next one who reads makes it.
  local open = redis.pcall('XPENDING', stream, ARGV[4])[1] or 0
  pending = pending + open
  if ARGV[5] == '1' then
    waiting = waiting + length(stream)
  else
    -- Of what stays, what the group has not got to. A `lag` that Redis does not know is nil.
    for _, one in ipairs(redis.pcall('XINFO', 'GROUPS', stream)) do
      if one[2] == ARGV[4] then waiting = waiting + open + (tonumber(one[12]) or 0) end
    end
  end
end
return {present, waiting, pending, mine}
"""

LEAVE: Final = """#!lua flags=allow-oom
-- KEYS: leases, or the workers' set. ARGV: worker. Lets go of what is held.
for _, key in ipairs(KEYS) do
  if redis.call('TYPE', key)['ok'] == 'zset' then redis.call('ZREM', key, ARGV[1])
  elseif redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
return 0
"""

DONE: Final = """#!lua flags=allow-oom
-- KEYS: a partition. ARGV: group, whether entries are removed, their ids. They are delivered.
local ids = {}
local function forget()
  if #ids == 0 then return end
  redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
  if ARGV[2] == '1' then redis.call('XDEL', KEYS[1], unpack(ids)) end
  ids = {}
end
for id in string.gmatch(ARGV[3], '%S+') do
  ids[#ids + 1] = id
  if #ids == 1000 then forget() end
end
forget()
return 0
"""

ALONE: Final = """#!lua flags=allow-oom
-- KEYS: a partition, its lease. ARGV: group, worker. Forgets workers of which nothing is pending.
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
for _, one in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  if one[2] ~= ARGV[2] and one[4] == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], one[2])
  end
end
return 0
"""
