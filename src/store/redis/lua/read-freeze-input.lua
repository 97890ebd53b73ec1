-- Purpose: everything a freeze is computed from, as of one moment.
-- Includes: alive-clock
-- KEYS[1] meta
-- KEYS[2] journals
-- KEYS[3] live
-- KEYS[4] board
-- KEYS[5] board index
-- KEYS[6] health
-- KEYS[7] facts
-- ARGV[1] windows of the board to read at most: the first that have publications
-- Returns: { now in epoch ms, HGETALL meta, HGETALL journals, SMEMBERS live, publications, their board fields, HGETALL health,
--   facts or empty, last window the board was read for or empty }
-- Atomic because: a freeze may combine a frontier only with the board and the members of the same moment.

local board, boardIndex = KEYS[4], KEYS[5]
local frontier = redis.call('HGET', KEYS[1], 'frontier')
local behind = frontier and '(' .. frontier or '-inf'

-- The window before the first one that is not read; nil where all are.
local function readBoardThrough()
  local after = behind
  for count = 0, tonumber(ARGV[1]) do
    local window = redis.call('ZRANGEBYSCORE', boardIndex, after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    if not window then
      return nil
    end
    if count == tonumber(ARGV[1]) then
      return text(tonumber(window) - 1)
    end
    after = '(' .. window
  end
end

local boardThrough = readBoardThrough()
local fields = redis.call('ZRANGEBYSCORE', boardIndex, behind, boardThrough or '+inf')
local publications = {}
-- In parts, since Lua passes a bounded number of arguments.
for from = 1, #fields, 1000 do
  local part = redis.call('HMGET', board, unpack(fields, from, math.min(from + 999, #fields)))
  for i = 1, #part do
    publications[from + i - 1] = part[i]
  end
end

return {
  text(readClockMs()),
  redis.call('HGETALL', KEYS[1]),
  redis.call('HGETALL', KEYS[2]),
  redis.call('SMEMBERS', KEYS[3]),
  publications,
  fields,
  redis.call('HGETALL', KEYS[6]),
  redis.call('GET', KEYS[7]) or '',
  boardThrough or '',
}
