-- Fragment: members of the settlement, fields `<journal>|<name>` of one hash, and the reply of join and sync.

local function readMember(journals, journal)
  local names = { 'state', 'incarnation', 'seq', 'hash', 'sealed', 'seen', 'claimed', 'blind' }
  local fields = {}
  for i, name in ipairs(names) do
    fields[i] = journal .. '|' .. name
  end
  local row = redis.call('HMGET', journals, unpack(fields))
  if not row[1] then
    return nil
  end
  return {
    state = row[1],
    incarnation = tonumber(row[2]),
    seq = tonumber(row[3]),
    hash = row[4],
    sealed = tonumber(row[5]),
    seen = tonumber(row[6]),
    claimed = tonumber(row[7]),
    blind = row[8],
  }
end

local function writeMember(journals, live, journal, member)
  local prefix = journal .. '|'
  redis.call('HSET', journals,
    prefix .. 'state', member.state,
    prefix .. 'incarnation', text(member.incarnation),
    prefix .. 'seq', text(member.seq),
    prefix .. 'hash', member.hash,
    prefix .. 'sealed', text(member.sealed),
    prefix .. 'seen', text(member.seen),
    prefix .. 'claimed', text(member.claimed),
    prefix .. 'blind', member.blind)
  redis.call(member.state == 'live' and 'SADD' or 'SREM', live, journal)
end

-- A member the store has not seen holds the frontier where it stands; `join` moves it on, since it has nothing before now.
local function registerMember(store, meta, incarnation)
  if not store.frontier then
    store.frontier = math.floor(store.nowMs / 1000) - 1
    redis.call('HSET', meta, 'frontier', text(store.frontier))
  end
  return {
    state = 'live',
    incarnation = incarnation,
    seq = 0,
    hash = '',
    sealed = store.frontier,
    seen = store.aliveMs,
    claimed = store.k,
    blind = '[]',
  }
end

-- Back from `left` or `dropped`: what is frozen is frozen, and a freeze in the making must look again.
local function reviveMember(store, member)
  member.state = 'live'
  member.sealed = math.max(member.sealed, store.frontier or 0)
  store.isBoardChanged = true
end

-- Stamps the member. One that was silent may be about to be dropped by a freeze in the making, which must look again.
local function hearMember(store, member)
  if store.aliveMs - member.seen > 2000 then
    store.isBoardChanged = true
  end
  member.seen = store.aliveMs
end

local function writeBoardVersion(store, meta)
  if store.isBoardChanged then
    redis.call('HINCRBY', meta, 'boardVersion', 1)
  end
end

-- Amounts are passed on as the strings they are stored as. 65 shares: one more than a reply holds tells that it was cut.
local function buildReply(status, store, member, live, pending, claimApplied, lateCount)
  local known = member or { seq = 0, hash = '', claimed = 0 }
  return {
    status,
    store.epoch,
    text(store.nowMs),
    text(known.seq),
    known.hash,
    store.frontier and text(store.frontier) or '',
    text(store.k),
    store.freezeHash,
    text(known.claimed),
    claimApplied,
    tostring(lateCount),
    redis.call('SMEMBERS', live),
    redis.call('ZRANGE', pending, 0, 64),
  }
end
