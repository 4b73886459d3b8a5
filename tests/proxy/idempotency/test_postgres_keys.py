"""What is special about keys in PostgreSQL: rows that are over are swept away, and those that are not stay."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gate.proxy.idempotency.key_store import Found
from gate.proxy.idempotency.postgres_keys import PostgresKeys
from gate.state.circuit import StoreDown
from gate.state.opening import open_store
from gate.state.postgres_store import PostgresStore
from tests.proxy.idempotency.stores import LONG, again, check_unread, new, until

pytestmark = pytest.mark.anyio


async def test_what_is_over_leaves_no_row(database: str) -> None:
    shared = open_store(database, prefix="swept", timeout=5.0)
    assert isinstance(shared, PostgresStore)
    store = PostgresKeys(shared)
    await store.prepare()
    for seconds in (0.01, 0.01, LONG):
        await store.keep(new(), b"response", seconds)

    async def swept() -> bool:
        await store.sweep()
        return await shared.fetch("SELECT count(*) FROM swept.idempotency_keys") == [(1,)]

    await until(swept)
    await store.renew([], LONG)
    await store.aclose()
    await shared.aclose()


async def test_a_sweep_goes_in_small_steps_beside_what_is_pressing(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = open_store(database, prefix="steps", timeout=5.0)
    assert isinstance(shared, PostgresStore)
    store = PostgresKeys(shared)
    await store.prepare()
    rows = "SELECT sha256(i::text::bytea), 'p', NULL, 'response', now() - interval '1 s' FROM generate_series(1, 500) i"
    await shared.fetch(f"INSERT INTO steps.idempotency_keys {rows} RETURNING 1")
    beside, removed = store._large.store, list[int]()
    fetch = beside.fetch

    async def counted(*asked: Any) -> list[tuple[Any, ...]]:
        found = await fetch(*asked)
        removed.append(len(found))
        return found

    monkeypatch.setattr(beside, "fetch", counted)
    beside.circuit.failed("it is away")
    with pytest.raises(StoreDown, match="it is away"):
        await store.sweep()
    beside.circuit.succeeded()
    await store.sweep()
    assert (removed, shared.circuit.failures) == ([200, 200, 100], 0)
    await store.aclose()
    await shared.aclose()


async def test_large_responses_fail_alone_and_take_the_time_they_need(database: str) -> None:
    shared = open_store(database, prefix="large", timeout=0.25)
    assert isinstance(shared, PostgresStore)
    store, content = PostgresKeys(shared), bytes(2**20)
    await store.prepare()
    keys = [new() for _ in range(32)]
    assert all(await asyncio.gather(*(store.keep(each, content, LONG) for each in keys)))
    for each in keys[::8]:
        assert await store.claim(again(each), LONG) == Found("kept", content)
    assert (shared.circuit.failures, store._large.store.circuit.failures) == (0, 0)
    locking = await shared._connected()
    try:
        async with locking.transaction():
            await locking.execute('LOCK TABLE "large".idempotency_keys')
            for _ in range(2):  # one that is late says nothing yet
                with pytest.raises(StoreDown):
                    await store.keep(new(), b"small", LONG)
    finally:
        await locking.close()
    assert (shared.circuit.up, store._large.store.circuit.up) == (True, False), "limits go on"
    await store.aclose()
    await shared.aclose()


async def test_a_response_that_is_there_and_cannot_be_read_is_none_that_is_not(database: str) -> None:
    shared = open_store(database, prefix="unread", timeout=5.0)
    assert isinstance(shared, PostgresStore)
    await check_unread(PostgresKeys(shared))
    await shared.aclose()
