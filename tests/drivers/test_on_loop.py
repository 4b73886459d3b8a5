"""The driver for event loops: a cancelled caller cancels what is under way."""

from __future__ import annotations

import asyncio

from gate.drivers import AsyncDriver, Recording
from gate.effects import Generate, generate, together
from tests.drivers.running import MESSAGES
from tests.scripted import Scripted, always, world_of


def test_cancelling_the_caller_cancels_every_call_under_way() -> None:
    slow = {name: Scripted(name, always("x"), seconds=30) for name in ("a", "b")}

    async def main() -> None:
        driver = AsyncDriver(world_of(slow))
        flow = together(generate(Generate(name, MESSAGES)) for name in slow)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(driver.run(flow, Recording()))
            while not all(upstream.asked for upstream in slow.values()):
                await asyncio.sleep(0.01)
            task.cancel()
        assert task.cancelled()
        await driver.aclose()

    asyncio.run(main())
    assert all(upstream.cancelled.wait(5) for upstream in slow.values())
