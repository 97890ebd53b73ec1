-- Purpose: replaces the learner's document if its version is still the one the caller read.
-- KEYS[1] learned
-- ARGV[1] expected version
-- ARGV[2] text of the document
-- Returns: 1 stored as expected version + 1, 0 stale and nothing changed
-- Atomic because: two processes that learned from different windows must not overwrite each other's sums.

if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'text', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
