"""Scripts in a real Redis: over restarts, when it is frozen or gone or full, and by many at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio.to_thread
import pytest

from gate.state.circuit import StoreDown
from gate.state.opening import open_store
from gate.state.redis_store import CONNECTIONS, RedisStore, Script
from tests.redis_server import RedisServer

pytestmark = pytest.mark.anyio
COUNT = Script("return {ARGV[1], redis.call('INCR', KEYS[1])}")


@asynccontextmanager
async def opened(redis: RedisServer, prefix: str = "test", seconds: float = 5.0) -> AsyncIterator[RedisStore]:
    store = open_store(redis.url, prefix=prefix, timeout=seconds)
    assert isinstance(store, RedisStore)
    try:
        yield store
    finally:
        await store.aclose()


async def healed(store: RedisStore) -> None:
    async with asyncio.timeout(10):
        while not store.circuit.up:
            await asyncio.sleep(store.circuit.pause)
            with suppress(StoreDown):
                await store.ping()


async def test_scripts_run_alone_and_together(redis: RedisServer) -> None:
    async with opened(redis) as store:
        await store.prepare()
        key = store.key("n", "any name: {of} any kind\n")
        assert await store.run(
            COUNT,
            [key],
            [
                "x",
            ],
        ) == ["x", 1]
        found = await store.run_all(COUNT, [([key], [at]) for at in range(50)])
        assert found == [[str(at), at + 2] for at in range(50)]
        assert len({store.key("a", "n"), store.key("b", "n"), store.key("a", "m")}) == 3
        tags = {each.split("}")[0] for each in (store.key("a", "n"), store.key("b", "n"))}
        assert len(tags) == 1, "what belongs together is in one slot"
    async with opened(redis, "other") as store:
        assert await store.run(COUNT, [store.key("n", "x")], [1]) == ["1", 1]


async def test_more_at_once_than_connections(redis: RedisServer) -> None:
    async with opened(redis) as store:
        key = store.key("n", "many")
        found = await asyncio.gather(*(store.run(COUNT, [key], [0]) for _ in range(4 * CONNECTIONS)))
        assert sorted(each[1] for each in found) == list(range(1, 4 * CONNECTIONS + 1))


async def test_a_restart_is_noticed_by_nobody_who_asks_after_it(redis: RedisServer) -> None:
    async with opened(redis) as store:
        key = store.key("n", "restarted")
        await asyncio.gather(*(store.run(COUNT, [key], [0]) for _ in range(8)))
        await anyio.to_thread.run_sync(redis.restart)
        assert await store.run(COUNT, [key], [0]) == ["0", 9], "neither its connections nor its scripts are there"
        assert store.circuit.failures == 0


async def test_one_that_is_frozen_is_waited_for_twice(redis: RedisServer) -> None:
    async with opened(redis, seconds=0.75) as store:
        await store.ping()
        redis.freeze()
        try:
            began = time.monotonic()
            for _ in range(2):
                assert store.circuit.up
                with pytest.raises(StoreDown, match=r"did not answer within 0.75 s") as caught:
                    await store.run(COUNT, [store.key("n", "frozen")], [0])
                assert not caught.value.unsent
            assert time.monotonic() - began < 5
            with pytest.raises(StoreDown) as caught:
                await store.ping()
            assert caught.value.unsent
        finally:
            redis.thaw()
        await healed(store)


async def test_one_that_is_gone_or_refuses_says_so_and_nothing_else(redis: RedisServer) -> None:
    async with opened(redis) as store:
        with pytest.raises(StoreDown, match=r"^it refused: WRONGTYPE$"):
            await store.run(Script("redis.call('SET', KEYS[1], 'x') return redis.call('LLEN', KEYS[1])"), ["secret"])
        await healed(store)
        with pytest.raises(StoreDown, match=r"^it refused: "):
            await store.run_all(Script("return nothing.at.all"), [(["secret"], []), (["secret"], [])])
    lost = open_store("unix:///nowhere/secret.sock")
    with pytest.raises(StoreDown, match=r"^it cannot be reached: is it running, and the address right[?]$"):
        await lost.ping()
    await lost.aclose()
