-- Purpose: applies one numbered message of a journal at most once (settlement.md, sync).
-- Includes: alive-clock, members
-- KEYS[1] meta
-- KEYS[2] journals
-- KEYS[3] live
-- KEYS[4] pending of the journal
-- KEYS[5] board
-- KEYS[6] board index
-- KEYS[7] health
-- KEYS[8] chain
-- KEYS[9] message hashes of the journal
-- KEYS[10] dims
-- KEYS[11] archive
-- KEYS[12..] what the claim writes to, by the key numbers in ARGV[12]
-- ARGV[1] journal
-- ARGV[2] incarnation
-- ARGV[3] epoch
-- ARGV[4] seq
-- ARGV[5] prevHash
-- ARGV[6] hash
-- ARGV[7] sealedThrough, window
-- ARGV[8] earliest window that publications, health changes or blind ranges touch, or empty
-- ARGV[9] 1 when the member leaves, else 0
-- ARGV[10] run id of the master, or empty
-- ARGV[11] JSON { publications: [[window, field, JSON]], health: [[field, 0 or 1]], blind: [[from, to]], hashesKept }
-- ARGV[12] JSON of the claim, or empty: { k0, k, hash, balances, total, negated: nanodollars as strings,
--   books: [[key number, expiry, field, nanodollars]], cells: [[key number, expiry, dims, metric number, amount, …]],
--   batches: [[index key number, body key number, expiry, score in epoch ms, member, ARGV number]],
--   entry: [key number, expiry, field, ARGV number, link] or [], late: [key number, expiry, field, JSON] or [],
--   closedThrough: what it was laid out for, days: those it brings records or an entry for}; expiries in epoch seconds, amounts as strings
-- ARGV[13..] deflated records and the claim itself
-- Returns: the reply of `buildReply`; status ok, already, behind, fenced, foreign, or reopen: months were closed since it was laid out
-- Atomic because: number, publications, money, records and cursor move together or a replay would bill twice.

local meta, journals, live, pending = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local board, boardIndex, health, chain, hashes, dims = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local archive = KEYS[11]
local journal, incarnation, seq, hash = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[6]
local store = tickStore(meta, ARGV[10])
local member = readMember(journals, journal)

if store.epoch == '' or ARGV[3] ~= store.epoch then
  return buildReply('foreign', store, member, live, pending, '', 0)
end
if member and incarnation < member.incarnation then
  return buildReply('fenced', store, member, live, pending, '', 0)
end
member = member or registerMember(store, meta, incarnation)

-- A number answered before: `<hash>|<claim applied>|<late count>`.
local used = redis.call('HGET', hashes, ARGV[4])
local usedHash, usedClaim, usedLate
if used then
  usedHash, usedClaim, usedLate = string.match(used, '^(.*)|(%d?)|(%d+)$')
end
-- A successor of another message than the stored one comes from a second author: resending could never heal it.
local follows = member.seq == 0 or ARGV[5] == member.hash
if (usedHash and usedHash ~= hash) or (seq == member.seq + 1 and not follows) then
  return buildReply('fenced', store, member, live, pending, '', 0)
end
hearMember(store, member)
member.incarnation = incarnation
if seq ~= member.seq + 1 then
  writeMember(journals, live, journal, member)
  writeBoardVersion(store, meta)
  local status = seq <= member.seq and 'already' or 'behind'
  return buildReply(status, store, member, live, pending, usedClaim or '', usedLate or 0)
end

local claim = ARGV[12] ~= '' and cjson.decode(ARGV[12]) or nil
if claim and claim.closedThrough ~= (redis.call('HGET', meta, 'closedThrough') or '0') then
  return buildReply('reopen', store, member, live, pending, '', 0)
end

local parts = cjson.decode(ARGV[11])
local farthest = math.floor(store.nowMs / 1000) + 2

local function publish()
  local lateCount = 0
  for _, publication in ipairs(parts.publications) do
    local window, field = publication[1], publication[2]
    if window <= store.frontier or window > farthest then
      lateCount = lateCount + 1
    elseif redis.call('HSETNX', board, field, publication[3]) == 1 then
      redis.call('ZADD', boardIndex, text(window), field)
    end
  end
  for _, change in ipairs(parts.health) do
    redis.call('HSET', health, change[1], change[2])
    redis.call('HSET', meta, 'isHealthTrimmed', '0')
  end
  return lateCount
end

local function addBlind()
  local ranges, kept = cjson.decode(member.blind), {}
  for _, range in ipairs(parts.blind) do
    ranges[#ranges + 1] = range
  end
  for _, range in ipairs(ranges) do
    if range[1] <= range[2] and range[2] > store.frontier then
      kept[#kept + 1] = range
    end
  end
  -- A member that restarts more often than this between two freezes has its oldest ranges joined.
  while #kept > 64 do
    local first = table.remove(kept, 1)
    kept[1] = { math.min(first[1], kept[1][1]), math.max(first[2], kept[1][2]) }
  end
  local texts = {}
  for i, range in ipairs(kept) do
    texts[i] = '[' .. text(range[1]) .. ',' .. text(range[2]) .. ']'
  end
  member.blind = '[' .. table.concat(texts, ',') .. ']'
end

-- At 0 the key stays until its day was exported.
local function expire(key, atSecond)
  if atSecond == 0 then
    redis.call('PERSIST', key)
    return
  end
  redis.call('EXPIREAT', key, text(math.max(atSecond, math.floor(store.nowMs / 1000) + 86400)))
end

-- Due is what the freezes up to k handed out in all: each pending entry starts with that sum as HINCRBY made it, so that
-- claimed + total must spell the same digits. No amount is ever a Lua number.
local function isDue(claim)
  if not claim.balances or claim.k0 ~= member.claimed or claim.k > store.k then
    return false
  end
  local hashAtK = claim.k == store.k and store.freezeHash or redis.call('HGET', chain, text(claim.k))
  if hashAtK ~= claim.hash then
    return false
  end
  local last = redis.call('ZREVRANGEBYSCORE', pending, text(claim.k), '(' .. text(claim.k0), 'LIMIT', 0, 1)[1]
  if not last then
    return claim.total == '0'
  end
  redis.call('HINCRBY', journals, journal .. '|claimedNanoUsd', claim.total)
  if redis.call('HGET', journals, journal .. '|claimedNanoUsd') == string.match(last, '^(%d+)|') then
    return true
  end
  redis.call('HINCRBY', journals, journal .. '|claimedNanoUsd', claim.negated)
  return false
end

local function internDims(spelled)
  local id = redis.call('HGET', dims, spelled)
  if not id then
    id = tostring(redis.call('HINCRBY', meta, 'dimsCount', 1))
    redis.call('HSET', dims, spelled, id)
  end
  return id
end

local function applyClaim(claim)
  for _, book in ipairs(claim.books) do
    redis.call('HINCRBY', KEYS[book[1]], book[3], book[4])
    expire(KEYS[book[1]], book[2])
  end
  for _, cell in ipairs(claim.cells) do
    local id = internDims(cell[3])
    for i = 4, #cell, 2 do
      redis.call('HINCRBY', KEYS[cell[1]], id .. ':' .. cell[i], cell[i + 1])
    end
    expire(KEYS[cell[1]], cell[2])
  end
  for _, batch in ipairs(claim.batches) do
    redis.call('ZADD', KEYS[batch[1]], batch[4], batch[5])
    redis.call('HSET', KEYS[batch[2]], batch[5], ARGV[batch[6]])
    expire(KEYS[batch[1]], batch[3])
    expire(KEYS[batch[2]], batch[3])
  end
  local entry = claim.entry
  if entry[1] then
    local previous = redis.call('HGET', journals, journal .. '|entry') or ''
    redis.call('HSET', KEYS[entry[1]], entry[3], previous .. '\n' .. ARGV[entry[4]])
    redis.call('HSET', journals, journal .. '|entry', entry[5])
    expire(KEYS[entry[1]], entry[2])
  end
  -- What is archived of these days is no longer all of them.
  if #claim.days > 0 then
    redis.call('HDEL', archive, unpack(claim.days))
  end
  local late = claim.late
  if late[1] then
    redis.call('HSET', KEYS[late[1]], late[3], late[4])
    expire(KEYS[late[1]], late[2])
  end
  redis.call('ZREMRANGEBYSCORE', pending, '-inf', text(claim.k))
  member.claimed = claim.k
end

-- A freeze in the making looks no further than what this member had sealed: only what reaches back there makes it stale.
if member.state ~= 'live' then
  reviveMember(store, member)
end
if ARGV[8] ~= '' and tonumber(ARGV[8]) <= member.sealed then
  store.isBoardChanged = true
end
local lateCount = publish()
addBlind()
member.sealed = math.max(member.sealed, math.min(tonumber(ARGV[7]), farthest))
member.seq = seq
member.hash = hash
local claimApplied = ''
if claim then
  claimApplied = '0'
  if isDue(claim) then
    applyClaim(claim)
    claimApplied = '1'
  end
end
if ARGV[9] == '1' then
  member.state = 'left'
end
if lateCount > 0 then
  redis.call('HINCRBY', journals, journal .. '|late', lateCount)
end
redis.call('HSET', hashes, ARGV[4], hash .. '|' .. claimApplied .. '|' .. tostring(lateCount))
redis.call('HDEL', hashes, text(seq - parts.hashesKept))
redis.call('EXPIRE', hashes, 60 * 86400)
writeMember(journals, live, journal, member)
writeBoardVersion(store, meta)
return buildReply('ok', store, member, live, pending, claimApplied, lateCount)
