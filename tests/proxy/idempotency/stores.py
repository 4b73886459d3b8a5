"""Stores of idempotency keys, opened; and keys that nobody has used yet."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gate.proxy.idempotency.file_keys import FileKeys
from gate.proxy.idempotency.key_store import Found, Held, KeyStore, ResponseUnread
from gate.proxy.idempotency.memory_keys import MemoryKeys
from gate.proxy.idempotency.postgres_keys import PostgresKeys
from gate.proxy.idempotency.redis_keys import RedisKeys
from gate.state.circuit import StoreDown
from gate.state.opening import open_store
from gate.state.postgres_store import PostgresStore

LONG = 600.0


@asynccontextmanager
async def opened(where: str | Path | None) -> AsyncIterator[KeyStore]:
    """``where``: the address of a server, a file, or None for memory."""
    if where is None:
        yield MemoryKeys()
        return
    if isinstance(where, Path):
        store: KeyStore = FileKeys(where)
        try:
            yield store
        finally:
            await store.aclose()
        return
    shared = open_store(where, prefix="once", timeout=5.0)
    kept = PostgresKeys(shared) if isinstance(shared, PostgresStore) else RedisKeys(shared)
    await kept.prepare()
    try:
        yield kept
    finally:
        await kept.aclose()
        await shared.aclose()


def new(name: str | None = None, fingerprint: str = "aa") -> Held:
    return Held(name or secrets.token_hex(32), fingerprint * 32, secrets.token_hex(16))


def again(held: Held, fingerprint: str = "aa") -> Held:
    """The same key, claimed by another request."""
    return new(held.name, fingerprint)


async def until(asked: Callable[[], Awaitable[bool]]) -> None:
    end = time.monotonic() + 10
    while not await asked():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def check_unread(store: RedisKeys | PostgresKeys) -> None:
    """What is kept and cannot be read is never taken for what is not; closes it."""
    kept, late = new(), new()
    await store.prepare()
    assert await store.keep(kept, b"response", LONG)
    store._large.store.circuit.failed("it is away")
    with pytest.raises(ResponseUnread, match="it is away"):
        await store.claim(again(kept), LONG)
    with pytest.raises(StoreDown):
        await store.keep(late, b"response", LONG)
    assert await store.keep(late, None, LONG), "what carries nothing needs no room"
    assert await store.claim(again(late), LONG) == Found("dropped")
    await store.aclose()
