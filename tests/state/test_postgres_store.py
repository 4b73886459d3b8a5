"""Statements in a real PostgreSQL: tables made once, bounded waits, and connections that were lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from gate.state.circuit import StoreDown
from gate.state.opening import open_store
from gate.state.postgres_store import CONNECTIONS, PostgresStore

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(database: str, schema: str = "test", seconds: float = 5.0) -> AsyncIterator[PostgresStore]:
    store = open_store(database, prefix=schema, timeout=seconds)
    assert isinstance(store, PostgresStore)
    try:
        yield store
    finally:
        await store.aclose()


async def healed(store: PostgresStore) -> None:
    async with asyncio.timeout(10):
        while not store.circuit.up:
            await asyncio.sleep(store.circuit.pause)
            with suppress(StoreDown):
                await store.ping()


async def test_many_processes_make_what_they_need_once(database: str) -> None:
    made = ["CREATE TABLE things (a int)", "INSERT INTO things VALUES (1)"]

    async def one() -> int:
        async with opened(database, "once", 5.0) as store:
            store.needs("things", 1, made)
            return int((await store.fetch("SELECT count(*) FROM once.things"))[0][0])

    assert await asyncio.gather(*(one() for _ in range(6))) == [1] * 6
    async with opened(database, "once") as store:
        store.needs("things", 2, ["INSERT INTO things VALUES (2)"])
        store.needs("others", 1, ["CREATE TABLE others (b int)"])
        await store.ping()
        assert await store.fetch("SELECT a FROM once.things ORDER BY a") == [(1,), (2,)]
        assert dict(await store.fetch("SELECT part, version FROM once.versions")) == {"things": 2, "others": 1}


async def test_more_at_once_than_connections(database: str) -> None:
    async with opened(database, seconds=5.0) as store:
        found = await asyncio.gather(*(store.fetch("SELECT %s::int", (at,)) for at in range(5 * CONNECTIONS)))
        assert found == [[(at,)] for at in range(5 * CONNECTIONS)]
        backends = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gate'"
        assert (await store.fetch(backends))[0][0] <= CONNECTIONS


async def test_one_that_is_slow_or_frozen_is_waited_for_twice(database: str) -> None:
    async with opened(database, seconds=0.75) as store:
        for _ in range(2):
            assert store.circuit.up
            with pytest.raises(StoreDown, match=r"too slow|did not answer within 0.75 s"):
                await store.fetch("SELECT pg_sleep(30)::text")
        with pytest.raises(StoreDown) as caught:
            await store.ping()
        assert caught.value.unsent
        await healed(store)
        (backend,) = (await store.fetch("SELECT pg_backend_pid()"))[0]
        os.kill(backend, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(StoreDown, match=r"did not answer within 0.75 s"):
                await store.fetch("SELECT 1")
            assert time.monotonic() - began < 5
        finally:
            os.kill(backend, signal.SIGCONT)
        await healed(store)


async def test_a_store_is_not_down_because_this_process_stood_still(database: str) -> None:
    async with opened(database, seconds=0.25) as store:
        await store.ping()

        async def stall() -> None:
            await asyncio.sleep(0.0005)
            time.sleep(0.5)  # noqa: ASYNC251 - the loop is to stand still

        asked = (store.fetch("SELECT %s::int", (at,)) for at in range(5 * CONNECTIONS))
        found = await asyncio.gather(*asked, stall())
        assert found[:-1] == [[(at,)] for at in range(5 * CONNECTIONS)]
        assert (store.circuit.up, store.circuit.failures) == (True, 0)


async def test_connections_that_the_server_closed_are_replaced(database: str) -> None:
    async with opened(database) as store, opened(database) as other:
        await store.ping()
        ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'gate'"
        await other.fetch(f"{ended} AND pid <> pg_backend_pid()")
        assert await store.fetch("SELECT 1") == [(1,)]
        assert store.circuit.failures == 0


async def test_what_it_refuses_is_told_without_what_was_said(database: str) -> None:
    async with opened(database) as store:
        with pytest.raises(StoreDown, match=r"^UndefinedTable \(42P01\)$"):
            await store.fetch("SELECT 'secret' FROM secret")
    for url, said in (
        (
            database.replace("/postgres?", "/secret?"),
            "^it cannot be reached, or refuses the user, password or database",
        ),
        ("postgresql://gate:secret@/postgres?host=/nowhere", "^it cannot be reached"),
    ):
        async with opened(url) as store:
            with pytest.raises(StoreDown, match=said) as caught:
                await store.ping()
            assert "secret" not in str(caught.value)


async def test_a_user_that_may_not_is_told_what_to_grant(database: str) -> None:
    async with opened(database) as store:
        store.needs("others", 1, ["CREATE ROLE nobody LOGIN", "CREATE SCHEMA theirs"])
        await store.ping()
    as_nobody = database.replace("gate@", "nobody@")
    for schema, said in (
        ("new", r"may not do that: let it own the schema, or make it \(CREATE on the database\)"),
        ("theirs", "may not use the schema: grant USAGE and CREATE on it"),
    ):
        async with opened(as_nobody, schema) as store:
            with pytest.raises(StoreDown, match=said):
                await store.ping()


async def test_who_only_reads_makes_nothing(database: str) -> None:
    needed = ("things", 2, ["CREATE TABLE things (a int)"])
    async with opened(database, "unmade") as store:
        store.needs(*needed)
        assert not await store.found()
        assert await store.fetch("SELECT 1 FROM pg_namespace WHERE nspname = 'unmade'") == []
    async with opened(database, "unmade") as store:
        store.needs("things", 1, needed[2])
        await store.ping()
        assert await store.found()
    async with opened(database, "unmade") as store:
        store.needs(*needed)
        assert not await store.found(), "it is of an older version"


async def test_a_store_that_can_only_be_read_is_down(database: str) -> None:
    async with opened(database) as store:
        await store.ping()
    only_reading = f"{database}&options=-c%20default_transaction_read_only%3Don"
    async with opened(only_reading) as store:
        with pytest.raises(StoreDown, match="ReadOnlySqlTransaction"):
            await store.ping()
