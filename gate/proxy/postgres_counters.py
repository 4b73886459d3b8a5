"""Counts of keys in PostgreSQL: a function for each question, under the lock of the key's row, by the server's clock.

The table ``counters`` has a row for each name that was ever counted, ``under_way`` one for each ticket, with the day
and month in which it was charged. Where a ticket had ended before the store knew of it, its name stands there behind a
"-", and counts as nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from gate.proxy.counter_store import KEPT, Asked, Ending, Found
from gate.proxy.counting import NANO, Short, Standing, Usage, Used, nanos_of
from gate.proxy.keys import Rate
from gate.state.circuit import Circuit
from gate.state.postgres_store import PostgresStore

_ID = 16
_VERSION = 1
_TABLES = (
    """CREATE TABLE counters (
      name bytea PRIMARY KEY,
      requests float8 NOT NULL DEFAULT 'Infinity', tokens float8 NOT NULL DEFAULT 'Infinity',
      at float8 NOT NULL DEFAULT 0,
      day int NOT NULL DEFAULT 0, month int NOT NULL DEFAULT 0,
      day_requests bigint NOT NULL DEFAULT 0, day_tokens bigint NOT NULL DEFAULT 0, day_nanos bigint NOT NULL DEFAULT 0,
      month_requests bigint NOT NULL DEFAULT 0, month_tokens bigint NOT NULL DEFAULT 0,
      month_nanos bigint NOT NULL DEFAULT 0,
      total_requests bigint NOT NULL DEFAULT 0, total_tokens bigint NOT NULL DEFAULT 0,
      total_nanos bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50)""",
    "CREATE TABLE under_way (ticket text PRIMARY KEY, name bytea NOT NULL, lease float8 NOT NULL, day int, month int)",
    "CREATE INDEX under_way_by_name ON under_way (name, lease)",
    """CREATE FUNCTION clock() RETURNS float8 LANGUAGE sql VOLATILE AS
      $$ SELECT extract(epoch FROM clock_timestamp())::float8 $$""",
)
_BROUGHT_UP = """CREATE FUNCTION brought_up(c counters, per_minute float8, tokens_per_minute float8, now float8)
RETURNS counters LANGUAGE plpgsql STABLE AS $$
DECLARE
  passed float8 := greatest(0, now - c.at);
  today int := floor(now / 86400);
  utc timestamp := to_timestamp(now) AT TIME ZONE 'UTC';
  this_month int := extract(year FROM utc) * 12 + extract(month FROM utc);
BEGIN
  c.requests := CASE WHEN per_minute IS NULL THEN 'Infinity'
    ELSE least(per_minute, c.requests + passed * per_minute / 60) END;
  c.tokens := CASE WHEN tokens_per_minute IS NULL THEN 'Infinity'
    ELSE least(tokens_per_minute, c.tokens + passed * tokens_per_minute / 60) END;
  c.at := now;
  -- one step back is a clock set over midnight; more, and the clock was far ahead before
  IF NOT today BETWEEN c.day - 1 AND c.day THEN
    c.day := today; c.day_requests := 0; c.day_tokens := 0; c.day_nanos := 0;
  END IF;
  IF NOT this_month BETWEEN c.month - 1 AND c.month THEN
    c.month := this_month; c.month_requests := 0; c.month_tokens := 0; c.month_nanos := 0;
  END IF;
  RETURN c;
END $$"""
_CHARGED = """CREATE FUNCTION charged(c counters, more_requests bigint, more_tokens bigint, more_nanos bigint,
  same_day bool, same_month bool)
RETURNS counters LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  c.requests := c.requests - more_requests; c.tokens := c.tokens - more_tokens;
  c.day_requests := c.day_requests + CASE WHEN same_day THEN more_requests ELSE greatest(0, more_requests) END;
  c.day_tokens := c.day_tokens + CASE WHEN same_day THEN more_tokens ELSE greatest(0, more_tokens) END;
  c.day_nanos := c.day_nanos + CASE WHEN same_day THEN more_nanos ELSE greatest(0, more_nanos) END;
  c.month_requests := c.month_requests + CASE WHEN same_month THEN more_requests ELSE greatest(0, more_requests) END;
  c.month_tokens := c.month_tokens + CASE WHEN same_month THEN more_tokens ELSE greatest(0, more_tokens) END;
  c.month_nanos := c.month_nanos + CASE WHEN same_month THEN more_nanos ELSE greatest(0, more_nanos) END;
  c.total_requests := c.total_requests + more_requests; c.total_tokens := c.total_tokens + more_tokens;
  c.total_nanos := c.total_nanos + more_nanos;
  RETURN c;
END $$"""
_LOCKED = """CREATE FUNCTION locked(which bytea) RETURNS counters LANGUAGE plpgsql AS $$
DECLARE c counters;
BEGIN
  SELECT * INTO c FROM counters WHERE name = which FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO counters (name) VALUES (which) ON CONFLICT DO NOTHING;
    SELECT * INTO c FROM counters WHERE name = which FOR UPDATE;
  END IF;
  RETURN c;
END $$"""
_WRITTEN = """CREATE FUNCTION written(c counters) RETURNS void LANGUAGE sql AS $$
  UPDATE counters SET requests = c.requests, tokens = c.tokens, at = c.at, day = c.day, month = c.month,
    day_requests = c.day_requests, day_tokens = c.day_tokens, day_nanos = c.day_nanos,
    month_requests = c.month_requests, month_tokens = c.month_tokens, month_nanos = c.month_nanos,
    total_requests = c.total_requests, total_tokens = c.total_tokens, total_nanos = c.total_nanos
  WHERE name = c.name $$"""
_TAKE = f"""CREATE FUNCTION take(its_ticket text, which bytea, per_minute float8, tokens_per_minute float8,
  concurrency int, per text, spend_limit bigint, need bigint, nanos bigint, seconds float8,
  OUT short text, OUT requests float8, OUT tokens float8, OUT busy int, OUT now float8, OUT day int, OUT month int,
  OUT day_nanos bigint, OUT month_nanos bigint, OUT total_nanos bigint)
LANGUAGE plpgsql AS $$
DECLARE
  c counters := locked(which);
  spent bigint;
BEGIN
  now := clock();
  c := brought_up(c, per_minute, tokens_per_minute, now);
  DELETE FROM under_way u WHERE u.name = which AND u.lease < now - {KEPT};
  SELECT count(*) INTO busy FROM under_way u WHERE u.name = which AND u.lease > now AND left(u.ticket, 1) <> '-';
  spent := CASE per WHEN 'day' THEN c.day_nanos WHEN 'month' THEN c.month_nanos ELSE c.total_nanos END;
  short := CASE
    WHEN spent >= spend_limit OR spent + nanos > spend_limit THEN 'money'
    WHEN EXISTS (SELECT FROM under_way u WHERE u.ticket = '-' || its_ticket) THEN 'void'
    WHEN c.requests < 1 THEN 'requests'
    WHEN need >= 0 AND c.tokens < greatest(1, need) THEN 'tokens'
    WHEN busy >= concurrency THEN 'concurrency'
  END;
  IF short IS NULL THEN
    c := charged(c, 1, greatest(0, need), nanos, true, true);
    INSERT INTO under_way VALUES (its_ticket, which, now + seconds, c.day, c.month);
    busy := busy + 1;
  END IF;
  PERFORM written(c);
  requests := c.requests; tokens := c.tokens; day := c.day; month := c.month;
  day_nanos := c.day_nanos; month_nanos := c.month_nanos; total_nanos := c.total_nanos;
END $$"""  # noqa: S608 - a number
_FINISH = """CREATE FUNCTION finish(how text, its_ticket text, which bytea, per_minute float8, tokens_per_minute float8,
  more_requests bigint, more_tokens bigint, more_nanos bigint)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  c counters := locked(which);
  now float8 := clock();
  its_day int;
  its_month int;
  done int;
BEGIN
  DELETE FROM under_way u WHERE u.ticket = its_ticket RETURNING u.day, u.month INTO its_day, its_month;
  GET DIAGNOSTICS done = ROW_COUNT;
  IF how = 'post' OR (how = 'give back' AND done = 0) THEN
    INSERT INTO under_way VALUES ('-' || its_ticket, which, now) ON CONFLICT DO NOTHING;
    IF how = 'post' THEN GET DIAGNOSTICS done = ROW_COUNT; END IF;
  END IF;
  IF done > 0 THEN
    c := brought_up(c, per_minute, tokens_per_minute, now);
    PERFORM written(charged(c, more_requests, more_tokens, more_nanos,
      c.day IS NOT DISTINCT FROM its_day, c.month IS NOT DISTINCT FROM its_month));
  END IF;
  RETURN done;
END $$"""
_SEEN = """CREATE FUNCTION seen(which bytea, per_minute float8, tokens_per_minute float8) RETURNS counters
LANGUAGE plpgsql STABLE AS $$
DECLARE c counters;
BEGIN
  SELECT * INTO c FROM counters WHERE name = which;
  IF NOT FOUND THEN
    c := ROW(which, 'Infinity', 'Infinity', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)::counters;
  END IF;
  RETURN brought_up(c, per_minute, tokens_per_minute, clock());
END $$"""
_BUSY = """CREATE FUNCTION busy(which bytea) RETURNS int LANGUAGE sql STABLE AS $$
  SELECT count(*)::int FROM under_way WHERE name = which AND lease > clock() AND left(ticket, 1) <> '-' $$"""
_MADE = (*_TABLES, _BROUGHT_UP, _CHARGED, _LOCKED, _WRITTEN, _TAKE, _FINISH, _SEEN, _BUSY)
_FUNCTIONS = ("brought_up", "charged", "locked", "written", "take", "finish", "seen", "busy")


class PostgresCounters:
    """Fits `gate.proxy.counter_store.CounterStore`."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        found = [f'ALTER FUNCTION {name} SET search_path = "{store.schema}"' for name in _FUNCTIONS]
        store.needs("counters", _VERSION, (*_MADE, *found))

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
        casts = "%s, %s, %s::float8, %s::float8, %s::int, %s, %s::bigint, %s::bigint, %s::bigint, %s::float8"
        limited = (None, None) if spend is None else (spend.per, nanos_of(spend.limit))
        took = (asked.need, asked.nanos, asked.lease)
        arguments = (asked.ticket, _id(asked.name), *_limits(rate), rate.concurrency, *limited, *took)
        statement = f"SELECT * FROM {self._store.named('take')}({casts})"  # noqa: S608 - a plain name
        (row,) = await self._store.fetch(statement, arguments)
        short, requests, tokens, busy, now, day, month, *nanos = row
        # of a request that was taken back before it came nobody waits for the answer
        said: Short | None = "concurrency" if short == "void" else short
        return Found(said, requests, tokens, busy, now, day, month, (nanos[0], nanos[1], nanos[2]))

    async def end(self, endings: Sequence[Ending]) -> None:
        # by name: two that lock the same rows in another order would wait for each other
        rows = [
            (
                *(each.how, each.ticket, _id(each.name), *_limits(each.rate)),
                *(each.requests, each.tokens, each.nanos),
            )
            for each in sorted(endings, key=lambda each: _id(each.name))
        ]
        kinds = ("text", "text", "bytea", "float8", "float8", "bigint", "bigint", "bigint")
        arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
        columns = ", ".join("abcdefgh")
        statement = f"SELECT {self._store.named('finish')}({columns}) FROM unnest({arrays}) AS e({columns})"  # noqa: S608
        await self._store.fetch(statement, [list(column) for column in zip(*rows, strict=True)])

    async def renew(self, held: Mapping[str, Sequence[str]], lease: float) -> None:
        tickets = [ticket for each in held.values() for ticket in each]
        renewed = f"UPDATE {self._store.named('under_way')} SET lease = {self._store.named('clock')}() + %s::float8"  # noqa: S608
        await self._store.fetch(f"{renewed} WHERE ticket = ANY(%s) RETURNING 1", (lease, tickets))

    async def standing(self, name: str, rate: Rate) -> Standing:
        row = await self._row(name, rate, "requests, tokens")
        return Standing(*row)

    async def usage(self, name: str) -> Usage:
        windows = [f"{per}_{what}" for per in ("day", "month", "total") for what in ("requests", "tokens", "nanos")]
        *used, under_way = await self._row(name, Rate(), ", ".join(windows))
        day, month, total = (Used(used[at], used[at + 1], used[at + 2] / NANO) for at in (0, 3, 6))
        return Usage(day, month, total, under_way)

    async def _row(self, name: str, rate: Rate, columns: str) -> tuple[Any, ...]:
        """Of a name as it is now, also where there is none, and what of it is under way."""
        which = _id(name)
        seen = f"{self._store.named('seen')}(%s, %s::float8, %s::float8)"
        statement = f"SELECT {columns}, {self._store.named('busy')}(%s) FROM {seen}"  # noqa: S608 - plain names
        return (await self._store.fetch(statement, (which, which, *_limits(rate))))[0]


def _id(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=_ID).digest()


def _limits(rate: Rate) -> tuple[int | None, int | None]:
    return rate.requests_per_minute, rate.tokens_per_minute
