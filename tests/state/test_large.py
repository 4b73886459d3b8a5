"""The lane of what is large: time by size, few at once, and who waits for it fails nothing."""

from __future__ import annotations

import asyncio

import pytest

from gate.state.large import Large, large_seconds

pytestmark = pytest.mark.anyio


class Store:
    timeout = 0.25


async def test_few_go_at_once_each_with_the_time_that_its_size_takes() -> None:
    small, beside = Store(), Store()
    lane, inside, most, go = Large(small, beside), 0, 0, asyncio.Event()

    async def call(size: int) -> float:
        nonlocal inside, most
        async with lane.room(size) as (store, seconds):
            assert store is beside
            inside += 1
            most = max(most, inside)
            await go.wait()
            inside -= 1
            return seconds

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call(size * 2**20)) for size in range(8)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert (inside, most) == (4, 4)
        go.set()
    assert [task.result() for task in tasks] == [0.25 + size for size in range(8)]
    assert most == 4


def test_what_carries_nothing_has_the_time_of_any_call() -> None:
    assert large_seconds(0.25, 0) == 0.25
