"""What is special about keys in memory: room."""

from __future__ import annotations

import pytest

from gate.proxy.idempotency.key_store import Found, Held
from gate.proxy.idempotency.memory_keys import MemoryKeys
from gate.state.circuit import StoreDown
from tests.proxy.idempotency.stores import LONG, again, new

pytestmark = pytest.mark.anyio


async def test_the_oldest_responses_are_dropped_and_their_keys_stay() -> None:
    store, keys = MemoryKeys(most_bytes=250), [new() for _ in range(3)]
    for each in keys:
        await store.claim(each, LONG)
        await store.keep(each, bytes(100), LONG)
    found = [(await store.claim(again(each), LONG)).state for each in keys]
    assert found == ["dropped", "kept", "kept"]


async def test_where_all_are_worked_on_no_more_are_taken_until_some_are_over() -> None:
    now = 0.0
    store = MemoryKeys(lambda: now, most_keys=2)
    first = new()
    await store.claim(first, 1)
    await store.claim(new(), LONG)
    with pytest.raises(StoreDown, match="as many keys as it may"):
        await store.claim(new(), LONG)
    assert await store.claim(again(first), LONG) == Found("held")
    now = 59.0
    with pytest.raises(StoreDown):
        await store.claim(new(), LONG)
    now = 60.0
    assert await store.claim(new(), LONG) == Found("claimed")


async def used(store: MemoryKeys, owner: str, content: bytes | None = b"") -> Held:
    held = new()._replace(owner=owner)
    assert (await store.claim(held, LONG)).state == "claimed"
    await store.keep(held, content, LONG)
    return held


async def states(store: MemoryKeys, *keys: Held) -> list[str]:
    return [(await store.claim(again(each, "bb"), LONG)).state for each in keys]


async def test_a_client_that_fills_the_room_loses_its_own_oldest_keys_and_keeps_nobody_out() -> None:
    store = MemoryKeys(most_keys=10)
    other = await used(store, "other")
    many = [await used(store, "many") for _ in range(30)]
    assert len(store._rows) == 10
    last = await used(store, "third")
    assert set(await states(store, other, last, *many[-8:])) == {"reused"}
    assert await states(store, many[0]) == ["claimed"], "forgotten"


async def test_a_client_that_fills_the_room_for_responses_loses_its_own() -> None:
    store = MemoryKeys(most_bytes=1000)
    other = await used(store, "other", bytes(100))
    many = [await used(store, "many", bytes(300)) for _ in range(5)]
    found = [(await store.claim(again(each), LONG)).state for each in (other, *many)]
    assert found == ["kept", "dropped", "dropped", "kept", "kept", "kept"]


async def test_a_full_room_costs_no_look_at_all_that_is_in_it() -> None:
    looked = 0

    def clock() -> float:
        nonlocal looked
        looked += 1
        return 0.0

    store = MemoryKeys(clock, most_keys=500)
    for _ in range(500):
        await used(store, "one")
    before = looked
    for _ in range(100):
        await used(store, "two")
    assert (looked - before) / 100 < 10
    assert len(store._rows) == len(store._kept) == 500


async def test_what_is_over_takes_no_room() -> None:
    now = 0.0
    store = MemoryKeys(lambda: now, most_bytes=250)
    for _ in range(5):
        each = new()
        await store.claim(each, LONG)
        await store.keep(each, bytes(200), 1)
        now += 2
    await store.sweep()
    assert (store._rows, store._size, store._shares) == ({}, 0, {})
    assert not store._kept
