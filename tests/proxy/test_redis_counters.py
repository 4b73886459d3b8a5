"""What stands in Redis: by hashed names, each in one slot, and nothing for ever but what was ever used."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from gate.proxy.counter_store import Asked, Ending
from gate.proxy.keys import Rate, Spend
from gate.proxy.redis_counters import RedisCounters
from gate.state.opening import open_store
from gate.state.redis_store import RedisStore
from tests.proxy.counting_houses import new_name
from tests.redis_server import RedisServer

RATE = Rate(requests_per_minute=60, concurrency=5)


async def kept(url: str, renewed: float) -> dict[str, int]:
    """The seconds for which each key is kept; -1: for ever. ``renewed``: for so long, where that is not 0."""
    store = open_store(url, prefix="things", timeout=5)
    assert isinstance(store, RedisStore)
    counters, name = RedisCounters(store), new_name()
    try:
        for at in range(3):
            asked = Asked(f"{name}-{at}", name, RATE, Spend(limit=1, per="day"), 5, 0, 15)
            assert (await counters.take(asked)).short_of is None
        await counters.end([Ending("settle", f"{name}-0", name, RATE, 0, 0, 5)])
        if renewed:
            await counters.renew({name: [f"{name}-1"]}, renewed)
        client: Any = store._connected()
        held = {key: await client.ttl(key) for key in await client.keys("things:*")}
        await client.delete(*held)
        return held
    finally:
        await store.aclose()


@pytest.mark.parametrize("renewed", [0, 5000])
def test_totals_stay_and_nothing_else_does(redis: RedisServer, renewed: float) -> None:
    held = asyncio.run(kept(redis.url, renewed))
    names = {re.fullmatch(r"things:(\{[0-9a-f]{32}\}):[ctuw]", key) for key in held}
    assert None not in names
    assert len({name[1] for name in names if name}) == 1
    seconds = {key[-1]: left for key, left in held.items()}
    assert seconds.pop("t") == -1
    assert seconds["c"] == pytest.approx(40 * 86_400, abs=60)
    for tickets in ("u", "w"):  # together, that no ticket is left in one
        assert seconds[tickets] == pytest.approx(2 * 86_400 + (renewed or 15), abs=60)


async def by_the_servers_clock(url: str) -> tuple[float, float]:
    store = open_store(url, prefix="clock", timeout=5)
    assert isinstance(store, RedisStore)
    try:
        seconds, _ = await store._connected().time()
        return (await RedisCounters(store).take(Asked("t", new_name(), RATE, None, 0, 0, 15))).now, float(seconds)
    finally:
        await store.aclose()


def test_time_is_the_servers(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    now, servers = asyncio.run(by_the_servers_clock(redis.url))
    assert now == pytest.approx(servers, abs=30)
