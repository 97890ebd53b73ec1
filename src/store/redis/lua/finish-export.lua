-- Purpose: marks a day as archived, if nothing came for it since its export began (domain/archive-marks.ts).
-- KEYS[1] archive
-- ARGV[1] day
-- ARGV[2] hash of its manifest
-- Returns: 1 marked, 0 not
-- Atomic because: a claim that comes in between must be exported too before its day may leave.

if redis.call('HGET', KEYS[1], ARGV[1]) ~= 'begun' then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
