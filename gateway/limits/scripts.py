"""The scripts that run in Redis. Each is atomic; all keys of a tenant share a hash tag.

Times are microseconds of the Redis server's clock, never of an application. A hold is
`[kind, key, limit, cost]` with kind r (requests a minute), t (tokens a minute), c (concurrency),
or a monthly budget: b (micro-units), i (input tokens), o (output tokens), s (their sum). Change
a script's meaning only together with its name: old and new workers run side by side.
"""

import hashlib


class Script:
    """A script and the name by which Redis knows it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


_CLOCK = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
"""

_BUDGETS = """
local budgets = {b = true, i = true, o = true, s = true}
"""

# KEYS: open reservations, the reservation, then one a hold.
# ARGV: id, lease in us, holds (JSON), record (JSON), then kind, limit, cost of each hold.
# Answers {1} or {0, which hold, retry in ms (-1: never, -2: cannot be verified), used}.
# Nothing is written unless every limit passes. A rate is one "theoretical arrival time": a
# bucket of one minute's worth that refills continuously. A millisecond of grace absorbs rounding.
RESERVE = Script(
    _CLOCK
    + _BUDGETS
    + """
local id, lease = ARGV[1], tonumber(ARGV[2])
if redis.call('EXISTS', KEYS[2]) == 1 then return {1} end
local worst, worst_retry, worst_used = 0, 0, 0
local arrivals = {}
for i = 1, #KEYS - 2 do
  local at = 4 + (i - 1) * 3
  local kind, limit, cost = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local key = KEYS[2 + i]
  local retry, used = 0, 0
  if budgets[kind] then
    local row = redis.call('HMGET', key, 'gen', 'spent', 'held')
    if limit == 0 then
      retry = -1
    elseif not row[1] then
      retry = -2
    else
      used = tonumber(row[2] or '0') + tonumber(row[3] or '0')
      if used + cost > limit then retry = -1 end
    end
  elseif limit == 0 then
    retry = -1
  elseif kind == 'c' then
    used = redis.call('ZCOUNT', key, '(' .. string.format('%.0f', now), '+inf')
    if used + 1 > limit then retry = 1000 end
  else
    local step = 60000000 / limit
    local tat = math.max(tonumber(redis.call('GET', key) or '0'), now)
    local over = tat + cost * step - now - 60000000
    used = math.ceil((tat - now) / step)
    arrivals[i] = tat + cost * step
    if cost > limit then
      retry = -1
    elseif over > 1000 then
      retry = math.ceil(over / 1000)
    end
  end
  if retry ~= 0 and (worst == 0 or (worst_retry >= 0 and (retry < 0 or retry > worst_retry))) then
    worst, worst_retry, worst_used = i, retry, used
  end
end
if worst > 0 then return {0, worst, worst_retry, worst_used} end
local expiry = string.format('%.0f', now + lease)
for i = 1, #KEYS - 2 do
  local at = 4 + (i - 1) * 3
  local kind, cost = ARGV[at + 1], ARGV[at + 3]
  local key = KEYS[2 + i]
  if budgets[kind] then
    redis.call('HINCRBY', key, 'held', cost)
  elseif kind == 'c' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
    redis.call('ZADD', key, expiry, id)
    redis.call('PEXPIRE', key, 600000)
  else
    local life = math.ceil((arrivals[i] - now) / 1000) + 1000
    redis.call('SET', key, string.format('%.0f', arrivals[i]), 'PX', life)
  end
end
redis.call('HSET', KEYS[2], 'holds', ARGV[3], 'record', ARGV[4])
redis.call('PEXPIRE', KEYS[2], 86400000)
redis.call('ZADD', KEYS[1], expiry, id)
redis.call('PEXPIRE', KEYS[1], 86400000)
return {1}
"""
)

# Replaces each hold by what was really used. `release` gives the request itself back as well.
# A refund moves the arrival time back and is worth nothing once the bucket is full again; a debt
# is repaid, but never longer than two minutes. The key names come from the reservation: they
# share the hash tag of KEYS.
_SETTLE = (
    _BUDGETS
    + """
local function settle(open, reservation, id, tokens, micros, release, input, output)
  local used = {b = micros, i = input, o = output, s = input + output}
  local raw = redis.call('HGET', reservation, 'holds')
  redis.call('ZREM', open, id)
  if not raw then return 0 end
  redis.call('DEL', reservation)
  for _, hold in ipairs(cjson.decode(raw)) do
    local kind, key, limit, cost = hold[1], hold[2], hold[3], hold[4]
    if kind == 'c' then
      redis.call('ZREM', key, id)
    elseif budgets[kind] then
      if redis.call('HEXISTS', key, 'gen') == 1 then
        local held = tonumber(redis.call('HGET', key, 'held') or '0')
        redis.call('HSET', key, 'held', string.format('%.0f', math.max(0, held - cost)))
        redis.call('HINCRBY', key, 'spent', string.format('%.0f', used[kind]))
      end
    else
      local delta = 0
      if kind == 't' then delta = tokens - cost elseif release == 1 then delta = -cost end
      if delta ~= 0 then
        local tat = math.max(tonumber(redis.call('GET', key) or '0'), now)
        tat = math.min(tat + delta * 60000000 / limit, now + 120000000)
        if tat <= now then
          redis.call('DEL', key)
        else
          local life = math.ceil((tat - now) / 1000) + 1000
          redis.call('SET', key, string.format('%.0f', tat), 'PX', life)
        end
      end
    end
  end
  return 1
end
"""
)

# KEYS: open reservations, the reservation.
# ARGV: id, tokens, micro-units, release (0 or 1), input tokens, output tokens.
# Answers 1, or 0 when it was settled before.
SETTLE = Script(
    _CLOCK
    + _SETTLE
    + """
return settle(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]),
  tonumber(ARGV[5]), tonumber(ARGV[6]))
"""
)

# KEYS: open reservations, the reservation. ARGV: id, lease in us, checkpoint (JSON).
RENEW = Script(
    _CLOCK
    + """
local raw = redis.call('HGET', KEYS[2], 'holds')
if not raw then return 0 end
local expiry = string.format('%.0f', now + tonumber(ARGV[2]))
for _, hold in ipairs(cjson.decode(raw)) do
  if hold[1] == 'c' then
    redis.call('ZADD', hold[2], expiry, ARGV[1])
    redis.call('PEXPIRE', hold[2], 600000)
  end
end
redis.call('ZADD', KEYS[1], expiry, ARGV[1])
redis.call('HSET', KEYS[2], 'checkpoint', ARGV[3])
return 1
"""
)

# Settles what nobody renewed for `grace`, from its last checkpoint.
# KEYS: open reservations. ARGV: grace in us, prefix of reservation keys.
# Answers a list of record, checkpoint, record, checkpoint ...
REAP = Script(
    _CLOCK
    + _SETTLE
    + """
local before = string.format('%.0f', now - tonumber(ARGV[1]))
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', 0, 100)
local found = {}
for _, id in ipairs(gone) do
  local reservation = ARGV[2] .. id
  local row = redis.call('HMGET', reservation, 'record', 'checkpoint')
  local tokens, micros, input, output = 0, 0, 0, 0
  if row[2] then
    local last = cjson.decode(row[2])
    tokens, micros = last['tokens'], last['micros']
    input, output = last['prompt_tokens'], last['completion_tokens']
  end
  if settle(KEYS[1], reservation, id, tokens, micros, 0, input, output) == 1 then
    found[#found + 1] = row[1] or ''
    found[#found + 1] = row[2] or ''
  end
end
return found
"""
)

ALL = (RESERVE, SETTLE, RENEW, REAP)
