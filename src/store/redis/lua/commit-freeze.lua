-- Purpose: writes one freeze if nothing it was computed from has changed (settlement.md, advance).
-- Includes: alive-clock
-- KEYS[1] meta
-- KEYS[2] journals
-- KEYS[3] live
-- KEYS[4] board
-- KEYS[5] board index
-- KEYS[6] health
-- KEYS[7] chain
-- KEYS[8] freezes of the hour
-- KEYS[9..] books of the hours, then pending of the journals, by the key numbers in ARGV[8]
-- ARGV[1] expected frontier
-- ARGV[2] expected k
-- ARGV[3] expected board version
-- ARGV[4] expected facts version
-- ARGV[5] new frontier, window
-- ARGV[6] hash of the freeze
-- ARGV[7] run id of the master, or empty
-- ARGV[8] JSON { books: [[key number, expiry in epoch seconds, pool, deployments, gpu, metric number, amount, …]],
--   shares: [[key number, journal, nanodollars, JSON of the entry]], drop: [journal], chainKept, digestsExpiry }; amounts as strings
-- ARGV[9] digest of the freeze's content, 32 bytes
-- Returns: 1 committed, 0 stale and nothing changed
-- Atomic because: the frontier passes each second once, and that alone accrues capacity.

local meta, journals, live, board, boardIndex, health, chain = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local store = tickStore(meta, ARGV[7])
local stored = redis.call('HMGET', meta, 'frontier', 'k', 'boardVersion', 'factsVersion')
for i = 1, 4 do
  if stored[i] ~= ARGV[i] then
    return 0
  end
end
local to, k = tonumber(ARGV[5]), store.k + 1
if to <= store.frontier then
  return 0
end
local parts = cjson.decode(ARGV[8])

for _, book in ipairs(parts.books) do
  local key = KEYS[book[1]]
  -- The latest names of a pool win; amounts only ever add up.
  redis.call('HSET', key, 'names:' .. book[3], cjson.encode({ book[4], book[5] }))
  for i = 6, #book, 2 do
    redis.call('HINCRBY', key, book[i] .. ':' .. book[3], book[i + 1])
  end
  redis.call('EXPIREAT', key, text(math.max(book[2], math.floor(store.nowMs / 1000) + 86400)))
end
for _, share in ipairs(parts.shares) do
  local sum = share[2] .. '|sharesNanoUsd'
  redis.call('HINCRBY', journals, sum, share[3])
  redis.call('ZADD', KEYS[share[1]], text(k), redis.call('HGET', journals, sum) .. '|' .. share[4])
end
local freezes = KEYS[8]
if redis.call('EXISTS', freezes) == 0 then
  redis.call('RPUSH', freezes, text(k) .. '|' .. store.freezeHash)
end
redis.call('RPUSH', freezes, ARGV[9])
redis.call('EXPIREAT', freezes, text(math.max(parts.digestsExpiry, math.floor(store.nowMs / 1000) + 86400)))
redis.call('HSET', chain, text(k), ARGV[6])
redis.call('HSET', meta, 'frontier', text(to), 'k', text(k), 'freezeHash', ARGV[6])
for _, field in ipairs(redis.call('ZRANGEBYSCORE', boardIndex, '-inf', text(to))) do
  redis.call('HDEL', board, field)
end
redis.call('ZREMRANGEBYSCORE', boardIndex, '-inf', text(to))
for _, journal in ipairs(parts.drop) do
  if redis.call('SREM', live, journal) == 1 then
    redis.call('HSET', journals, journal .. '|state', 'dropped')
  end
end

-- Of each journal and pool the last opinion up to the frontier stays, and all later ones.
local function trimHealth()
  local last, isTrimmed = {}, '1'
  local fields = redis.call('HKEYS', health)
  for _, field in ipairs(fields) do
    local journal, window, pool = string.match(field, '^([^|]*)|(%d+)|(.*)$')
    local id = journal .. '|' .. pool
    if tonumber(window) > to then
      isTrimmed = '0'
    elseif not last[id] or tonumber(window) > last[id] then
      last[id] = tonumber(window)
    end
  end
  for _, field in ipairs(fields) do
    local journal, window, pool = string.match(field, '^([^|]*)|(%d+)|(.*)$')
    local kept = last[journal .. '|' .. pool]
    if kept and tonumber(window) < kept then
      redis.call('HDEL', health, field)
    end
  end
  redis.call('HSET', meta, 'isHealthTrimmed', isTrimmed)
end

-- The oldest freeze a claim may still name: behind it every live member has claimed, or owes nothing.
local function trimChain()
  local rows = redis.call('HGETALL', journals)
  local values, oldest = {}, k
  for i = 1, #rows, 2 do
    values[rows[i]] = rows[i + 1]
  end
  for field, claimed in pairs(values) do
    local journal = string.match(field, '^(.*)|claimed$')
    if journal and (values[journal .. '|state'] == 'live'
      or (values[journal .. '|sharesNanoUsd'] or '0') ~= (values[journal .. '|claimedNanoUsd'] or '0')) then
      oldest = math.min(oldest, tonumber(claimed))
    end
  end
  oldest = math.max(oldest, k - parts.chainKept)
  local from = tonumber(redis.call('HGET', meta, 'chainFrom'))
  -- Bounded, so that one freeze never pays for a day of them.
  local through = math.min(oldest - 1, from + 999)
  for i = from, through do
    redis.call('HDEL', chain, text(i))
  end
  redis.call('HSET', meta, 'chainFrom', text(math.max(from, through + 1)))
end

if redis.call('HGET', meta, 'isHealthTrimmed') == '0' then
  trimHealth()
end
if k % 64 == 0 then
  trimChain()
end
return 1
