-- One compare-and-swap, atomic on the server: KEYS[1] becomes ARGV[2] .. ARGV[3] for at least ARGV[4] milliseconds if
-- its first 8 bytes are ARGV[1]. An empty ARGV[1] means that there is none, an empty ARGV[2] that there shall be none.
local current = redis.call('GETRANGE', KEYS[1], 0, 7)
if current ~= '' and current == ARGV[2] then
  return 1 -- done before: the same swap, sent again after its answer was lost
end
if current ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
  return 1
end
-- Never sooner than it would have gone: a replica whose clock jumped must not shorten what another promised.
local keep = math.max(tonumber(ARGV[4]), redis.call('PTTL', KEYS[1]))
redis.call('SET', KEYS[1], ARGV[2] .. ARGV[3], 'PX', string.format('%.0f', keep))
return 1
