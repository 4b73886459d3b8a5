"""Every store of idempotency keys does the same: in memory, in a file, in Redis, in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gate.proxy.idempotency.key_store import Found, KeyStore
from tests.proxy.idempotency.stores import LONG, again, new, opened, until

pytestmark = pytest.mark.anyio
RESPONSE = bytes(range(256)) * 5


@pytest.fixture(params=["memory", "file", "redis", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    match request.param:
        case "memory":
            return None
        case "file":
            return tmp_path / "keys.db"
        case "redis":
            return request.getfixturevalue("redis").url
        case _:
            return request.getfixturevalue("database")


@pytest.fixture
async def store(where: Any) -> AsyncIterator[KeyStore]:
    async with opened(where) as made:
        yield made


async def test_a_key_is_claimed_once_and_then_kept(store: KeyStore) -> None:
    first = new()
    assert await store.claim(first, LONG) == Found("claimed")
    assert await store.claim(first, LONG) == Found("claimed"), "it is the same claim, said again"
    assert await store.claim(again(first), LONG) == Found("held")
    assert await store.keep(first, RESPONSE, LONG)
    assert await store.keep(first, RESPONSE, LONG), "said again"
    assert await store.claim(again(first), LONG) == Found("kept", RESPONSE)
    await store.free(first)
    await store.renew([first], 0.001)
    assert await store.claim(again(first), LONG) == Found("kept", RESPONSE), "what is kept is held by nobody"
    assert await store.claim(new(), LONG) == Found("claimed"), "another key"


async def test_a_key_stands_for_one_request(store: KeyStore) -> None:
    first = new()
    await store.claim(first, LONG)
    assert await store.claim(again(first, "bb"), LONG) == Found("reused")
    assert not await store.keep(again(first, "bb"), RESPONSE, LONG)
    await store.keep(first, RESPONSE, LONG)
    assert await store.claim(again(first, "bb"), LONG) == Found("reused")


async def test_what_is_freed_is_anybodys(store: KeyStore) -> None:
    first = new()
    await store.claim(first, LONG)
    await store.free(again(first))
    assert await store.claim(again(first), LONG) == Found("held"), "only its holder frees it"
    await store.free(first)
    assert await store.claim(again(first, "bb"), LONG) == Found("claimed")


async def test_a_lease_ends_unless_it_is_renewed(store: KeyStore) -> None:
    first, second = new(), new()
    await store.claim(first, 0.05)
    await store.claim(second, 0.5)
    await store.renew([second, again(first)], LONG)
    taker = again(first)

    async def taken() -> bool:
        return (await store.claim(taker, LONG)).state == "claimed"

    await until(taken)
    assert await store.claim(again(first), LONG) == Found("held")
    await store.free(first)
    assert await store.claim(again(first), LONG) == Found("held"), "it is not the first one's any more"
    assert await store.claim(again(second), LONG) == Found("held")


async def test_a_response_that_is_late_is_kept_unless_there_is_one(store: KeyStore) -> None:
    late = new()
    assert await store.keep(late, b"first", LONG), "its lease was over, and nobody had come"
    assert not await store.keep(again(late), b"second", LONG)
    assert await store.claim(again(late), LONG) == Found("kept", b"first")


async def test_a_response_that_is_dropped_is_known_to_have_been(store: KeyStore) -> None:
    first = new()
    await store.claim(first, LONG)
    assert await store.keep(first, None, LONG)
    assert await store.claim(again(first), LONG) == Found("dropped")


async def test_what_is_kept_is_over_in_time(store: KeyStore) -> None:
    first = new()
    await store.claim(first, LONG)
    await store.keep(first, RESPONSE, 0.05)
    taker = again(first, "bb")

    async def forgotten() -> bool:
        await store.sweep()
        return (await store.claim(taker, LONG)).state == "claimed"

    await until(forgotten)


async def test_of_many_at_once_one_has_it(where: Any, store: KeyStore) -> None:
    if where is None:
        pytest.skip("memory is one worker's")
    first = new()
    async with opened(where) as other:
        claims = [each.claim(again(first), LONG) for each in (store, other) for _ in range(20)]
        states = [found.state for found in await asyncio.gather(*claims)]
    assert sorted(states) == ["claimed", *["held"] * 39]
