-- Declares the view of one partition whole on this server process, if it has come to the end.
-- KEYS: 1 at. ARGV: 1 run id, 2 offset up to which the facts must have been applied
local o = redis.call('HGET', KEYS[1], 'o')
if not o or tonumber(o) < tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'r', ARGV[1])
return 1
