-- Purpose: creates the store's own row if there is none, and tells whose it is.
-- KEYS[1] meta
-- ARGV[1] schema number of this program
-- ARGV[2] epoch to give a new store
-- Returns: { schema, epoch } as strings
-- Atomic because: two gateways that start on an empty Redis must agree on one epoch.

if redis.call('HSETNX', KEYS[1], 'schema', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'aliveMs', '0', 'lastCallMs', '0', 'k', '0', 'freezeHash', '',
    'boardVersion', '0', 'factsVersion', '0', 'chainFrom', '1')
end
return redis.call('HMGET', KEYS[1], 'schema', 'epoch')
