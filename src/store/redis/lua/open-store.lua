-- Purpose: creates the store's own row if there is none, brings an older one up to this program, and tells whose it is.
-- KEYS[1] meta
-- ARGV[1] schema number of this program
-- ARGV[2] epoch to give a new store
-- Returns: { schema, epoch, 1 while it is being rebuilt } as strings
-- Atomic because: two gateways that start on an empty Redis must agree on one epoch.

if redis.call('HSETNX', KEYS[1], 'schema', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'aliveMs', '0', 'lastCallMs', '0', 'k', '0', 'freezeHash', '',
    'boardVersion', '0', 'factsVersion', '0', 'chainFrom', '1', 'entriesFrom', '0')
end
-- Schema 2 keeps applied claims: hours from the one after the frontier on have all of theirs.
local stored = tonumber(redis.call('HGET', KEYS[1], 'schema') or '')
if stored and stored < 2 and tonumber(ARGV[1]) >= 2 then
  local frontier = tonumber(redis.call('HGET', KEYS[1], 'frontier') or '')
  local from = frontier and frontier - frontier % 3600 + 3600 or 0
  redis.call('HSET', KEYS[1], 'schema', '2', 'entriesFrom', string.format('%.0f', from))
end
-- Schema 3 adds figures to the books and leases; nothing that is there changes.
if stored and stored < 3 and tonumber(ARGV[1]) >= 3 then
  redis.call('HSET', KEYS[1], 'schema', '3')
end
-- Schema 4 adds the learner's document, which begins empty.
if stored and stored < 4 and tonumber(ARGV[1]) >= 4 then
  redis.call('HSET', KEYS[1], 'schema', '4')
end
-- Schema 5 adds vouchers and closed months; there are none yet.
if stored and stored < 5 and tonumber(ARGV[1]) >= 5 then
  redis.call('HSET', KEYS[1], 'schema', '5')
end
-- Schema 6 adds the days of the archive; none is known yet.
if stored and stored < 6 and tonumber(ARGV[1]) >= 6 then
  redis.call('HSET', KEYS[1], 'schema', '6')
end
return redis.call('HMGET', KEYS[1], 'schema', 'epoch', 'restoring')
