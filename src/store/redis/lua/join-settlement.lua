-- Purpose: registers a member before it serves (settlement.md, sync).
-- Includes: alive-clock, members
-- KEYS[1] meta
-- KEYS[2] journals
-- KEYS[3] live
-- KEYS[4] pending of the journal
-- KEYS[5] health
-- ARGV[1] journal
-- ARGV[2] incarnation
-- ARGV[3] run id of the master, or empty
-- ARGV[4] silence of the aliveClock after which a settled member is forgotten, ms
-- Returns: the reply of `buildReply`; status ok or fenced
-- Atomic because: the first member sets the frontier, and a freeze must see either no member or a registered one.

local meta, journals, live, pending, health = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local journal, incarnation = ARGV[1], tonumber(ARGV[2])
local store = tickStore(meta, ARGV[3])
local member = readMember(journals, journal)
if store.epoch == '' then
  return buildReply('foreign', store, member, live, pending, '', 0)
end
if member and incarnation < member.incarnation then
  return buildReply('fenced', store, member, live, pending, '', 0)
end

-- Members that left for good and owe nothing, so that short-lived journals do not pile up.
local function forgetMembers()
  local rows = redis.call('HGETALL', journals)
  local values = {}
  for i = 1, #rows, 2 do
    values[rows[i]] = rows[i + 1]
  end
  for field, state in pairs(values) do
    local other = string.match(field, '^(.*)|state$')
    if other and state ~= 'live'
      and store.aliveMs - tonumber(values[other .. '|seen']) > tonumber(ARGV[4])
      and (values[other .. '|sharesNanoUsd'] or '0') == (values[other .. '|claimedNanoUsd'] or '0') then
      for _, name in ipairs({ 'state', 'incarnation', 'seq', 'hash', 'sealed', 'seen', 'claimed', 'blind', 'late', 'sharesNanoUsd', 'claimedNanoUsd', 'entry' }) do
        redis.call('HDEL', journals, other .. '|' .. name)
      end
      for _, change in ipairs(redis.call('HKEYS', health)) do
        if string.sub(change, 1, #other + 1) == other .. '|' then
          redis.call('HDEL', health, change)
        end
      end
    end
  end
end

if not member then
  forgetMembers()
  member = registerMember(store, meta, incarnation)
  local beforeNow = math.floor(store.nowMs / 1000) - 1
  if beforeNow > store.frontier then
    member.sealed = beforeNow
    member.blind = '[[0,' .. text(beforeNow) .. ']]'
  end
elseif member.state ~= 'live' then
  reviveMember(store, member)
end
member.incarnation = incarnation
hearMember(store, member)
writeMember(journals, live, journal, member)
writeBoardVersion(store, meta)
return buildReply('ok', store, member, live, pending, '', 0)
