-- Purpose: takes or renews leases for one holder; a lease is a key that expires by itself.
-- KEYS[1..] leases
-- ARGV[1] holder
-- ARGV[2] time to live, milliseconds
-- Returns: a list of 1 (the holder has it now) or 0, in the order of the keys
-- Atomic because: between looking and taking another process could take the same lease.

local held = {}
for i, key in ipairs(KEYS) do
  local holder = redis.call('GET', key)
  held[i] = 0
  if not holder or holder == ARGV[1] then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    held[i] = 1
  end
end
return held
