"""What is special about keys in Redis: it lets them expire itself, and forgets its scripts when it is restarted."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from gate.proxy.idempotency.key_store import Found
from gate.proxy.idempotency.redis_keys import RedisKeys
from gate.state.circuit import StoreDown
from gate.state.opening import open_store
from gate.state.redis_store import RedisStore
from tests.proxy.idempotency.stores import LONG, again, check_unread, new, until
from tests.redis_server import RedisServer

pytestmark = pytest.mark.anyio


async def test_every_key_expires_and_outlives_a_restart(redis: RedisServer) -> None:
    shared = open_store(redis.url, prefix="special", timeout=5.0)
    assert isinstance(shared, RedisStore)
    store, kept, held = RedisKeys(shared), new(), new()
    await store.claim(kept, LONG)
    await store.keep(kept, b"response", 2 * LONG)
    await store.claim(held, LONG)
    client = shared._connected()
    left = [await client.pttl(*store._key(each)) for each in (kept, held)]
    assert 1000 * LONG < left[0] <= 2000 * LONG
    assert 0 < left[1] <= 1000 * LONG
    redis.restart()

    async def back() -> bool:
        with suppress(StoreDown):
            await shared.ping()
        return shared.circuit.up

    await until(back)
    assert await store.claim(again(kept), LONG) == Found("kept", b"response")
    assert await store.claim(again(held), LONG) == Found("held")
    await store.aclose()
    await shared.aclose()


async def test_large_responses_fail_alone_and_take_the_time_they_need(redis: RedisServer) -> None:
    shared = open_store(redis.url, prefix="large", timeout=0.25)
    assert isinstance(shared, RedisStore)
    store, content = RedisKeys(shared), bytes(2**20)
    await shared.ping()
    keys = [new() for _ in range(32)]
    assert all(await asyncio.gather(*(store.keep(each, content, LONG) for each in keys)))
    found = await asyncio.gather(*(store.claim(again(each), LONG) for each in keys))
    assert {each.state for each in found} == {"kept"}
    assert found[-1].content == content
    assert (shared.circuit.failures, store._large.store.circuit.failures) == (0, 0)
    redis.freeze()
    try:
        for _ in range(2):  # one that is late says nothing yet
            with pytest.raises(StoreDown):
                await store.keep(new(), b"small", LONG)
    finally:
        redis.thaw()
    assert (shared.circuit.up, store._large.store.circuit.up) == (True, False), "limits go on"
    await store.aclose()
    await shared.aclose()


async def test_a_response_that_is_there_and_cannot_be_read_is_none_that_is_not(redis: RedisServer) -> None:
    shared = open_store(redis.url, prefix="unread", timeout=5.0)
    assert isinstance(shared, RedisStore)
    await check_unread(RedisKeys(shared))
    await shared.aclose()
