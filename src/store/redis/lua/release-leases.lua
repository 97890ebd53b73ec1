-- Purpose: gives up the leases that one holder has.
-- KEYS[1..] leases
-- ARGV[1] holder
-- Returns: number of leases given up
-- Atomic because: a lease that expired may be another's by now, and must stay theirs.

local released = 0
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then
    released = released + redis.call('DEL', key)
  end
end
return released
