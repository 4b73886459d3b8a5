"""Whoever counts, with a clock that the test sets: on this machine, in Redis, in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any, Protocol, TypeVar

from gate.proxy.counter_file import CounterFile
from gate.proxy.counter_store import CounterStore
from gate.proxy.counters import _FRESH, Counters
from gate.proxy.counting import Counting, Refused, Standing, Taken, Usage
from gate.proxy.keys import Rate, Spend
from gate.proxy.postgres_counters import PostgresCounters
from gate.proxy.redis_counters import RedisCounters
from gate.proxy.shared_counters import SharedCounters
from gate.state.opening import open_store
from gate.state.postgres_store import PostgresStore
from gate.state.redis_store import RedisStore

T = TypeVar("T")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
LEASE = 30.0
_NAMES = count()
_CLOCK_TABLE = "CREATE TABLE IF NOT EXISTS test_clock AS SELECT 0::float8 AS now"
_CLOCK_FUNCTION = """CREATE OR REPLACE FUNCTION clock() RETURNS float8 LANGUAGE sql AS
  $$ SELECT now FROM "{schema}".test_clock $$"""


class House(Counting, Protocol):
    """The same for all, without waiting."""

    def at(self, now: float) -> None:
        """Set the clock: seconds since 1970."""
        ...


def new_name() -> str:
    """One that nobody has counted yet."""
    return f"key-{next(_NAMES)}"


class Here:
    """Of this process."""

    def __init__(self) -> None:
        self._now = NOON
        file = CounterFile.open(None, _FRESH)
        self.counters = Counters(file, monotonic=lambda: self._now, wall=lambda: self._now)
        self.take, self.settle, self.give_back = self.counters.take, self.counters.settle, self.counters.give_back
        self.standing, self.usage = self.counters.standing, self.counters.usage

    def at(self, now: float) -> None:
        self._now = now

    def close(self) -> None:
        self.counters.close()


class Shared:
    """Of a store. What has ended is written at once."""

    def __init__(self, url: str, prefix: str = "conform", timeout: float = 5.0) -> None:
        self.runner = asyncio.Runner()
        self.store = open_store(url, prefix=prefix, timeout=timeout)
        self._key = f"{prefix}:clock"
        if isinstance(self.store, RedisStore):
            kept: CounterStore = RedisCounters(self.store, f"local now = tonumber(redis.call('GET', '{self._key}'))\n")
        else:
            kept = PostgresCounters(self.store)
            self.store.needs("clock", 1, [_CLOCK_TABLE, _CLOCK_FUNCTION.format(schema=prefix)])
        self.kept = kept
        self.counters = SharedCounters(kept, lease=LEASE)
        self.run(kept.prepare())
        self.at(NOON)

    def run(self, asked: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asked)

    def at(self, now: float) -> None:
        """What is under way is held on to, as the heart of a worker that lives does."""
        self.run(self._set(now))
        self.run(self.counters.renew())

    async def _set(self, now: float) -> None:
        if isinstance(self.store, PostgresStore):
            await self.store.fetch(f'UPDATE "{self.store.schema}".test_clock SET now = %s RETURNING 1', (now,))
        else:
            await self.store._connected().set(self._key, repr(now))

    def take(
        self, name: str, rate: Rate, spend: Spend | None = None, tokens: int | None = 0, money: float = 0.0
    ) -> Taken | Refused:
        return self.run(self.counters.take(name, rate, spend, tokens, money))

    def settle(self, taken: Taken, tokens: int, money: float) -> None:
        self.counters.settle(taken, tokens, money)
        self.run(self.counters.write())

    def give_back(self, taken: Taken) -> None:
        self.counters.give_back(taken)
        self.run(self.counters.write())

    def standing(self, name: str, rate: Rate) -> Standing:
        return self.run(self.counters.standing(name, rate))

    def usage(self, name: str) -> Usage:
        return self.run(self.counters.usage(name))

    def close(self) -> None:
        self.run(self.store.aclose())
        self.runner.close()


@contextmanager
def shared(url: str, prefix: str = "conform") -> Iterator[Shared]:
    made = Shared(url, prefix)
    try:
        yield made
    finally:
        made.close()
