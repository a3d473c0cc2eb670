-- Applies facts to the view of one partition, if they are the next ones, and moves "at".
-- KEYS: 1 at, 2 outbox, 3 scope names, 4... buckets
-- ARGV: 1 from (offset that must stand in at), 2 to (offset that will), 3 mark in ms or 0,
--       4 partitions, 5 buckets; then for each fact: offset, index of its bucket in KEYS, field,
--       act ("stop" or "start"), time in ms, number of scopes n, n keys of 12 bytes, n names, body
-- Returns {"missing"}, {"layout"}, {"elsewhere", at} or {"ok", run id, length of the outbox}.
-- The merge is that of package state: per register the later stop and the later start.
local at = redis.call('HMGET', KEYS[1], 'o', 'p', 'r', 'm', 'n', 'b')
if not at[1] then return {'missing'} end
if at[5] ~= ARGV[4] or at[6] ~= ARGV[5] then return {'layout'} end
if at[1] ~= ARGV[1] then return {'elsewhere', at[1]} end
local published = tonumber(at[2])

local function read48(s, i)
  local a, b, c, d, e, f = string.byte(s, i, i + 5)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end
local function write48(n)
  local out = ''
  for _ = 1, 6 do
    out = string.char(n % 256) .. out
    n = math.floor(n / 256)
  end
  return out
end
-- n: nothing known, d: denied (ties go to STOP), a: opted in
local function state(stop, start)
  if stop > 0 and start <= stop then return 'd' end
  if start > 0 then return 'a' end
  return 'n'
end

local i = 6
while i <= #ARGV do
  local offset, bucket, field, act, ms, n = ARGV[i], KEYS[tonumber(ARGV[i + 1])], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  local person = redis.call('HGET', bucket, field) or ''
  local flips = ''
  for s = 1, n do
    local key = ARGV[i + 5 + s]
    local where = nil
    for p = 1, #person, 24 do
      if string.sub(person, p, p + 11) == key then where = p end
    end
    local stop, start = 0, 0
    if where then
      stop, start = read48(person, where + 12), read48(person, where + 18)
    else
      redis.call('HSETNX', KEYS[3], key, ARGV[i + 5 + n + s])
    end
    local before = state(stop, start)
    if act == 'stop' then stop = math.max(stop, ms) else start = math.max(start, ms) end
    local after = state(stop, start)
    if before ~= after then flips = flips .. s .. before .. after .. ',' end
    local register = key .. write48(stop) .. write48(start)
    if where then
      person = string.sub(person, 1, where - 1) .. register .. string.sub(person, where + 24)
    else
      person = person .. register
    end
  end
  redis.call('HSET', bucket, field, person)
  if flips ~= '' and tonumber(offset) >= published then
    redis.call('HSET', KEYS[2], offset, flips .. '|' .. ARGV[i + 6 + 2 * n])
  end
  i = i + 7 + 2 * n
end
redis.call('HSET', KEYS[1], 'o', ARGV[2])
if tonumber(ARGV[3]) > tonumber(at[4] or '0') then redis.call('HSET', KEYS[1], 'm', ARGV[3]) end
return {'ok', at[3] or '', redis.call('HLEN', KEYS[2])}
