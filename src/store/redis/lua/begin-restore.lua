-- Purpose: takes an empty store for a rebuild; one that holds books is left as it is.
-- KEYS[1] meta
-- KEYS[2] dims
-- KEYS[3] journals
-- KEYS[4] live
-- KEYS[5] board
-- KEYS[6] board index
-- KEYS[7] health
-- KEYS[8] chain
-- ARGV[1] schema number of this program
-- Returns: 1 taken, 0 not empty and nothing changed
-- Atomic because: a gateway that joined in between would have begun new books.

if redis.call('HEXISTS', KEYS[1], 'frontier') == 1 then
  return 0
end
-- What an interrupted rebuild left; books, cells and records are set again by their names.
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8])
redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'epoch', '', 'restoring', '1', 'aliveMs', '0', 'lastCallMs', '0', 'k', '0',
  'freezeHash', '', 'boardVersion', '0', 'factsVersion', '0', 'chainFrom', '1', 'entriesFrom', '0')
return 1
