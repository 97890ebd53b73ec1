-- Fragment: the store's clock and the aliveClock (settlement.md, sync). Silence counts only in time in which the store was called.

local function text(number)
  return string.format('%.0f', number)
end

local function readClockMs()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The server that runs this, told anew at every restart and failover; `told` where a user may not ask.
local function readRunId(told)
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or told
end

-- Adds min(now - last call, 2 s) to the aliveClock and reads the store's own state. Under a new master nobody is excluded
-- for 30 s of it: `holdUntilMs` is that moment, and members count as just heard until then.
local function tickStore(meta, toldRunId)
  local runId = readRunId(toldRunId)
  local nowMs = readClockMs()
  local row = redis.call('HMGET', meta, 'epoch', 'aliveMs', 'lastCallMs', 'frontier', 'k', 'freezeHash', 'boardVersion', 'runId')
  local aliveMs = tonumber(row[2] or '0') + math.max(0, math.min(nowMs - tonumber(row[3] or '0'), 2000))
  if row[1] then
    redis.call('HSET', meta, 'aliveMs', text(aliveMs), 'lastCallMs', text(nowMs))
    if runId ~= '' and row[8] ~= runId then
      redis.call('HSET', meta, 'runId', runId)
      if row[8] then
        redis.call('HSET', meta, 'holdUntilMs', text(aliveMs + 30000))
      end
    end
  end
  return {
    epoch = row[1] or '',
    nowMs = nowMs,
    aliveMs = aliveMs,
    frontier = tonumber(row[4] or ''),
    k = tonumber(row[5] or '0'),
    freezeHash = row[6] or '',
    boardVersion = tonumber(row[7] or '0'),
  }
end
