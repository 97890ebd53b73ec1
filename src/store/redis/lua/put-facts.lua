-- Purpose: replaces the fact book if its version is still the one the caller read.
-- KEYS[1] meta
-- KEYS[2] facts
-- ARGV[1] expected version
-- ARGV[2] JSON of the pools
-- Returns: 1 stored as expected version + 1, 0 stale and nothing changed
-- Atomic because: of two gateways with different configs only one may price the coming windows.

if redis.call('HGET', KEYS[1], 'factsVersion') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('HINCRBY', KEYS[1], 'factsVersion', 1)
return 1
