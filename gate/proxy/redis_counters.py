"""Counts of keys in Redis: a script for each question, by the server's own clock.

Of each name there are five keys: ``c``, a hash of what is left of its minute and of what its day and month have used;
``t``, one of what it has ever used; ``u``, a sorted set of the tickets under way, by the end of their leases; ``w``, a
hash of the day and month in which each of them was charged; ``e``, a sorted set of those that had ended before the
store knew of them, by when. All but ``t`` expire when they say nothing any more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gate.proxy.counter_store import KEPT, Asked, Ending, Found
from gate.proxy.counting import NANO, Standing, Usage, Used, nanos_of
from gate.proxy.keys import Rate
from gate.state.circuit import Circuit
from gate.state.redis_store import Argument, RedisStore, Script

SERVER_CLOCK = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
"""
_EXPIRES = 40 * 86_400
"""Seconds: longer than any month."""
_PRELUDE = """
local c, t, u, e, w = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local per_minute, tokens_per_minute = tonumber(ARGV[1]), tonumber(ARGV[2])
local day = math.floor(now / 86400)

local function days_before(year)  -- from 1970 to its first of January
  local last = year - 1
  return 365 * (year - 1970) + math.floor(last / 4) - math.floor(last / 100) + math.floor(last / 400) - 477
end

local year = 1970 + math.floor(day / 365.2425)
if days_before(year) > day then year = year - 1 end
if days_before(year + 1) <= day then year = year + 1 end
local rest, month = day - days_before(year), 1
local leap = days_before(year + 1) - days_before(year) - 365
for _, length in ipairs({31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30}) do
  if rest < length then break end
  rest, month = rest - length, month + 1
end
month = year * 12 + month

local held = redis.call('HMGET', c, 'at', 'requests', 'tokens', 'day', 'month')
local passed = math.max(0, now - (tonumber(held[1]) or 0))

local function filled(left, cap)
  if not cap then return math.huge end
  left = tonumber(left) or math.huge
  return math.min(cap, left + passed * cap / 60)
end

-- one step back is a clock set over midnight; more, and the clock was far ahead before
local function over(then_, window)
  return not (then_ - 1 <= window and window <= then_)
end

local requests, tokens = filled(held[2], per_minute), filled(held[3], tokens_per_minute)
local held_day, held_month = tonumber(held[4]) or 0, tonumber(held[5]) or 0
local new_day, new_month = over(held_day, day), over(held_month, month)
if new_day then held_day = day end
if new_month then held_month = month end

local function text(number)
  return number == math.huge and '' or string.format('%.17g', number)
end

local function used(per, what)  -- of the day, the month, and ever
  if (per == 'd' and new_day) or (per == 'm' and new_month) then return '0' end
  return redis.call('HGET', per == 't' and t or c, per .. what) or '0'
end

local function under_way()
  return redis.call('ZCOUNT', u, '(' .. text(now), '+inf')
end

local function write()
  if new_day then redis.call('HSET', c, 'dr', '0', 'dt', '0', 'dn', '0') end
  if new_month then redis.call('HSET', c, 'mr', '0', 'mt', '0', 'mn', '0') end
  redis.call('HSET', c, 'at', text(now), 'requests', text(requests), 'tokens', text(tokens),
    'day', held_day, 'month', held_month)
  redis.call('EXPIRE', c, EXPIRES)
end

local function positive(number)
  return tonumber(number) > 0 and number or '0'
end

local function charge(more_requests, more_tokens, more_nanos, same_day, same_month)
  requests, tokens = requests - more_requests, tokens - more_tokens
  write()
  for per, same in pairs({d = same_day, m = same_month, t = true}) do
    local key = per == 't' and t or c
    redis.call('HINCRBY', key, per .. 'r', same and more_requests or positive(more_requests))
    redis.call('HINCRBY', key, per .. 't', same and more_tokens or positive(more_tokens))
    redis.call('HINCRBY', key, per .. 'n', same and more_nanos or positive(more_nanos))
  end
end
""".replace("EXPIRES", str(_EXPIRES))
_TAKE = """
local ticket, lease, concurrency, per, limit = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local need, nanos = ARGV[8], ARGV[9]
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', u, '-inf', text(now - KEPT), 'LIMIT', 0, 1000)) do
  redis.call('ZREM', u, gone)
  redis.call('HDEL', w, gone)
end
redis.call('ZREMRANGEBYSCORE', e, '-inf', text(now - KEPT))
local busy, short = under_way(), ''
if limit then
  local spent = tonumber(used(per, 'n'))
  if spent >= limit or spent + tonumber(nanos) > limit then short = 'money' end
end
if short == '' then
  if redis.call('ZSCORE', e, ticket) then short = 'void'
  elseif per_minute and requests < 1 then short = 'requests'
  elseif tokens_per_minute and tonumber(need) >= 0 and tokens < math.max(1, tonumber(need)) then short = 'tokens'
  elseif concurrency and busy >= concurrency then short = 'concurrency' end
end
if short == '' then
  charge('1', positive(need), nanos, true, true)
  new_day, new_month, busy = false, false, busy + 1
  redis.call('ZADD', u, text(now + lease), ticket)
  redis.call('HSET', w, ticket, held_day .. ' ' .. held_month)
  for _, key in ipairs({u, w}) do  -- together: what is left in one is found by the other
    redis.call('EXPIRE', key, math.ceil(2 * KEPT + lease))
  end
else
  write()
end
return {short, text(requests), text(tokens), busy, text(now), held_day, held_month,
  used('d', 'n'), used('m', 'n'), used('t', 'n')}
""".replace("KEPT", str(KEPT))
_END = """
local ticket, how = ARGV[3], ARGV[4]
local known = redis.call('ZREM', u, ticket) == 1
local its_day, its_month = string.match(redis.call('HGET', w, ticket) or '', '(%d+) (%d+)')
redis.call('HDEL', w, ticket)
if how == 'post' then
  known = redis.call('ZADD', e, 'NX', text(now), ticket) == 1
elseif how == 'give back' and not known then
  redis.call('ZADD', e, 'NX', text(now), ticket)
end
if how ~= 'settle' then redis.call('EXPIRE', e, 2 * KEPT) end
if not known then return 0 end
charge(ARGV[5], ARGV[6], ARGV[7], held_day == tonumber(its_day), held_month == tonumber(its_month))
return 1
""".replace("KEPT", str(KEPT))
_RENEW = """
for at = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', string.format('%.17g', now + ARGV[1]), ARGV[at])
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, math.ceil(2 * KEPT + ARGV[1])) end
return 1
""".replace("KEPT", str(KEPT))
_STANDING = "return {text(requests), text(tokens), under_way()}"
_USAGE = """
local found = {under_way()}
for _, per in ipairs({'d', 'm', 't'}) do
  for _, what in ipairs({'r', 't', 'n'}) do found[#found + 1] = used(per, what) end
end
return found
"""


class RedisCounters:
    """Fits `gate.proxy.counter_store.CounterStore`."""

    def __init__(self, store: RedisStore, clock: str = SERVER_CLOCK) -> None:
        """``clock``: Lua that sets ``now``."""
        self._store = store
        self._take = Script(clock + _PRELUDE + _TAKE)
        self._end = Script(clock + _PRELUDE + _END)
        self._renew = Script(clock + _RENEW)
        self._standing = Script(clock + _PRELUDE + _STANDING)
        self._usage = Script(clock + _PRELUDE + _USAGE)

    @property
    def circuit(self) -> Circuit:
        return self._store.circuit

    @property
    def timeout(self) -> float:
        return self._store.timeout

    async def prepare(self) -> None:
        await self._store.prepare()

    async def ping(self) -> None:
        await self._store.ping()

    async def take(self, asked: Asked) -> Found:
        rate, spend = asked.rate, asked.spend
        concurrency: Argument = "" if rate.concurrency is None else rate.concurrency
        limited: tuple[Argument, Argument] = ("", "") if spend is None else (spend.per[0], nanos_of(spend.limit))
        arguments = (*_limits(rate), asked.ticket, asked.lease, concurrency, *limited, asked.need, asked.nanos)
        said = await self._store.run(self._take, self._keys(asked.name), arguments)
        short, requests, tokens, under_way, now, day, month, *nanos = said
        spent = (int(nanos[0]), int(nanos[1]), int(nanos[2]))
        left = (_number(requests), _number(tokens))
        # of a request that was taken back before it came nobody waits for the answer
        return Found(
            "concurrency" if short == "void" else short or None, *left, under_way, float(now), day, month, spent
        )

    async def end(self, endings: Sequence[Ending]) -> None:
        calls: list[tuple[Sequence[str], Sequence[Argument]]] = [
            (
                self._keys(each.name),
                (*_limits(each.rate), each.ticket, each.how, each.requests, each.tokens, each.nanos),
            )
            for each in endings
        ]
        await self._store.run_all(self._end, calls)

    async def renew(self, held: Mapping[str, Sequence[str]], lease: float) -> None:
        calls: list[tuple[Sequence[str], Sequence[Argument]]] = [
            ([self._store.key(part, name) for part in ("u", "w")], (lease, *tickets)) for name, tickets in held.items()
        ]
        await self._store.run_all(self._renew, calls)

    async def standing(self, name: str, rate: Rate) -> Standing:
        requests, tokens, under_way = await self._store.run(self._standing, self._keys(name), _limits(rate))
        return Standing(_number(requests), _number(tokens), under_way)

    async def usage(self, name: str) -> Usage:
        under_way, *used = await self._store.run(self._usage, self._keys(name), ("", ""))
        day, month, total = (_used(used[at : at + 3]) for at in (0, 3, 6))
        return Usage(day, month, total, under_way)

    def _keys(self, name: str) -> tuple[str, ...]:
        return tuple(self._store.key(part, name) for part in ("c", "t", "u", "e", "w"))


def _limits(rate: Rate) -> tuple[Argument, Argument]:
    requests, tokens = rate.requests_per_minute, rate.tokens_per_minute
    return ("" if requests is None else requests, "" if tokens is None else tokens)


def _number(text: str) -> float:
    return float(text) if text else math.inf


def _used(said: Sequence[Any]) -> Used:
    requests, tokens, nanos = map(int, said)
    return Used(requests, tokens, nanos / NANO)
