-- Purpose: everything a freeze is computed from, as of one moment.
-- Includes: alive-clock
-- KEYS[1] meta
-- KEYS[2] journals
-- KEYS[3] live
-- KEYS[4] board
-- KEYS[5] health
-- KEYS[6] facts
-- Returns: { now in epoch ms, HGETALL meta, HGETALL journals, SMEMBERS live, HVALS board, HKEYS board, HGETALL health, facts or empty }
-- Atomic because: a freeze may combine a frontier only with the board and the members of the same moment.

return {
  text(readClockMs()),
  redis.call('HGETALL', KEYS[1]),
  redis.call('HGETALL', KEYS[2]),
  redis.call('SMEMBERS', KEYS[3]),
  redis.call('HVALS', KEYS[4]),
  redis.call('HKEYS', KEYS[4]),
  redis.call('HGETALL', KEYS[5]),
  redis.call('GET', KEYS[6]) or '',
}
