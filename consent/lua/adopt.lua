-- Makes the view of one partition ready to be caught up by an owner. What can't be trusted as
-- the fold of a prefix of the facts is removed, in the same step in which "at" begins anew: a
-- second owner can then never delete what the first has rebuilt.
-- KEYS: 1 at, 2 outbox, 3 scope names
-- ARGV: 1 first offset of the facts, 2 offset after the last, 3 published offset or -1,
--       4 partitions, 5 buckets, 6 prefix of the buckets' keys
-- Returns {"kept" or "fresh", offset at which to go on}.
local at = redis.call('HMGET', KEYS[1], 'o', 'p', 'n', 'b')
local kept = at[1] and at[3] == ARGV[4] and at[4] == ARGV[5] and tonumber(at[1]) <= tonumber(ARGV[2])
if not kept then
  for i = 0, math.max(tonumber(at[4] or '0'), tonumber(ARGV[5])) - 1 do
    redis.call('UNLINK', ARGV[6] .. i)
  end
  redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
  -- Without any memory of what was published, nothing of the past is published again.
  local published = ARGV[3]
  if published == '-1' then published = ARGV[2] end
  redis.call('HSET', KEYS[1], 'o', ARGV[1], 'p', published, 'n', ARGV[4], 'b', ARGV[5])
  return {'fresh', ARGV[1]}
end
if tonumber(ARGV[3]) > tonumber(at[2]) then
  redis.call('HSET', KEYS[1], 'p', ARGV[3])
  for _, offset in ipairs(redis.call('HKEYS', KEYS[2])) do
    if tonumber(offset) < tonumber(ARGV[3]) then redis.call('HDEL', KEYS[2], offset) end
  end
end
return {'kept', at[1]}
