-- Purpose: deletes the records and entries of a day that is archived; any other day stays (domain/archive-marks.ts).
-- KEYS[1] archive
-- KEYS[2] batch index of the day
-- KEYS[3] batch bodies of the day
-- KEYS[4] entries of the day
-- ARGV[1] day
-- Returns: 1 deleted, 0 not archived
-- Atomic because: a claim that comes in between takes the day out of the archive.

local hash = redis.call('HGET', KEYS[1], ARGV[1])
if not hash or hash == 'begun' then
  return 0
end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
