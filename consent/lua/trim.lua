-- Takes published changes out of the outbox and tells up to which offset all is published.
-- KEYS: 1 at, 2 outbox. ARGV: offsets
for i = 1, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
local o = redis.call('HGET', KEYS[1], 'o')
if not o then return -1 end
local least = tonumber(o)
for _, offset in ipairs(redis.call('HKEYS', KEYS[2])) do
  least = math.min(least, tonumber(offset))
end
return least
