"""What stands in PostgreSQL: tables made once, rows locked in one order, the time by its own clock."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gate.proxy.counter_store import Asked, Ending
from gate.proxy.keys import Rate
from gate.proxy.postgres_counters import PostgresCounters
from gate.state.opening import open_store
from gate.state.postgres_store import PostgresStore
from tests.proxy.counting_houses import new_name

pytestmark = pytest.mark.anyio
RATE = Rate(requests_per_minute=1000, concurrency=500)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def worker(database: str, schema: str) -> AsyncIterator[tuple[PostgresCounters, PostgresStore]]:
    store = open_store(database, prefix=schema, timeout=10)
    assert isinstance(store, PostgresStore)
    try:
        yield PostgresCounters(store), store
    finally:
        await store.aclose()


async def test_workers_that_start_at_once_share_what_the_first_one_made(database: str) -> None:
    name = new_name()

    async def one(number: int) -> int:
        async with worker(database, "user") as (counters, _):  # a word of SQL's
            return (await counters.take(Asked(f"{name}-{number}", name, RATE, None, 1, 1, 15))).under_way

    assert sorted(await asyncio.gather(*(one(at) for at in range(6)))) == [1, 2, 3, 4, 5, 6]


async def test_many_keys_in_any_order_do_not_wait_for_each_other_for_ever(database: str) -> None:
    names, chance = [new_name() for _ in range(8)], random.Random(3)
    async with worker(database, "order") as (one, store), worker(database, "order") as (other, _):
        await one.prepare()

        async def told(counters: PostgresCounters, which: str) -> None:
            for number in range(10):
                posted = [
                    Ending("post", f"{which}{number}-{name}", name, RATE, 1, 1, 1)
                    for name in chance.sample(names, len(names))
                ]
                await counters.end(posted)

        await asyncio.gather(told(one, "a"), told(other, "b"), told(one, "c"))
        for name in names:
            assert (await one.usage(name)).total.requests == 30
        assert store.circuit.failures == 0


async def test_time_is_the_servers(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time()
    async with worker(database, "clock") as (counters, _):
        await counters.prepare()
        monkeypatch.setattr("time.time", lambda: 0.0)
        found = await counters.take(Asked("t", new_name(), RATE, None, 0, 0, 15))
    assert found.now == pytest.approx(real, abs=60)
