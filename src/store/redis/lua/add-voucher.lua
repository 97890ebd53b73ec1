-- Purpose: appends a voucher and what it changes, if nothing it was computed from has changed (domain/voucher.ts).
-- Includes: alive-clock
-- KEYS[1] meta
-- KEYS[2] vouchers
-- KEYS[3] journals
-- KEYS[4] dims
-- KEYS[5..] books and cells, by the key numbers in ARGV[5]
-- ARGV[1] number of the voucher
-- ARGV[2] hash of the one before, or empty
-- ARGV[3] its hash
-- ARGV[4] its JSON
-- ARGV[5] JSON { openFrom: epoch second from which on its hour must be open, closedThrough: the new one or empty,
--   heads: { journal: link } or nothing, books: [[key number, charged field, claimed field, charged, claimed, amount]],
--   cells: [[key number, expiry, dims, metric number, amount, …]] }; amounts as strings
-- Returns: 1 added, 0 stale and nothing changed
-- Atomic because: a close must see every claim before it and none after.

local meta, vouchers, journals, dims = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local parts = cjson.decode(ARGV[5])
if redis.call('HGET', meta, 'epoch') == '' or redis.call('LLEN', vouchers) + 1 ~= tonumber(ARGV[1])
  or (redis.call('HGET', meta, 'voucherHash') or '') ~= ARGV[2]
  or parts.openFrom < tonumber(redis.call('HGET', meta, 'closedThrough') or '0') then
  return 0
end
if parts.heads then
  local rows = redis.call('HGETALL', journals)
  for i = 1, #rows, 2 do
    local journal = string.match(rows[i], '^(.*)|entry$')
    if journal and rows[i + 1] ~= (parts.heads[journal] or '') then
      return 0
    end
  end
end
for _, book in ipairs(parts.books) do
  local key = KEYS[book[1]]
  if (redis.call('HGET', key, book[2]) or '0') ~= book[4] or (redis.call('HGET', key, book[3]) or '0') ~= book[5] then
    return 0
  end
end

local nowSecond = math.floor(readClockMs() / 1000)
for _, book in ipairs(parts.books) do
  redis.call('HINCRBY', KEYS[book[1]], book[3], book[6])
end
for _, cell in ipairs(parts.cells) do
  local id = redis.call('HGET', dims, cell[3])
  if not id then
    id = tostring(redis.call('HINCRBY', meta, 'dimsCount', 1))
    redis.call('HSET', dims, cell[3], id)
  end
  for i = 4, #cell, 2 do
    redis.call('HINCRBY', KEYS[cell[1]], id .. ':' .. cell[i], cell[i + 1])
  end
  redis.call('EXPIREAT', KEYS[cell[1]], text(math.max(cell[2], nowSecond + 86400)))
end
if parts.closedThrough ~= '' then
  redis.call('HSET', meta, 'closedThrough', parts.closedThrough)
end
redis.call('RPUSH', vouchers, ARGV[4])
redis.call('HSET', meta, 'voucherHash', ARGV[3])
return 1
