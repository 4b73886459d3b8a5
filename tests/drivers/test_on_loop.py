"""The driver for event loops: a cancelled caller cancels what is under way."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gate.drivers import AsyncDriver, Recording, World
from gate.effects import Call, Flow, Generate, call, generate, together
from gate.errors import UpstreamTimeout
from gate.types import Generations
from tests.drivers.running import MESSAGES
from tests.scripted import Awaited, Scripted, always, world_of


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


async def _ended(driver: AsyncDriver, flow: Flow[object], begun: asyncio.Event) -> asyncio.Task[object]:
    """The task of a flow that was cancelled once it had begun."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(driver.run(flow, Recording()))
        await begun.wait()
        task.cancel()
    return task


def test_code_of_the_callers_is_cancelled_with_whoever_asked() -> None:
    async def main() -> None:
        begun, told = asyncio.Event(), list[str]()

        async def waits() -> None:
            begun.set()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                told.append("cancelled")
                raise

        driver = AsyncDriver(World({}))
        assert (await _ended(driver, call(Call("mine", waits)), begun)).cancelled()
        assert told == ["cancelled"]
        await driver.aclose()

    asyncio.run(main())


def test_the_deadline_cancels_code_of_the_callers_and_says_so() -> None:
    async def main() -> None:
        told = list[str]()

        async def waits() -> None:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                told.append("cancelled")
                raise

        driver = AsyncDriver(World({}))
        with pytest.raises(UpstreamTimeout, match="'mine': did not answer before the deadline"):
            await driver.run(call(Call("mine", waits)), Recording(), seconds=0.02)
        assert told == ["cancelled"]
        await driver.aclose()

    asyncio.run(main())


class Slow(Scripted):
    """Waits on the loop until it is cancelled."""

    def __init__(self) -> None:
        super().__init__("slow", always("x"))
        self.begun, self.ended = asyncio.Event(), list[str]()

    async def acomplete(self, effect: Generate) -> Generations:
        self.begun.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        return self.complete(effect, lambda: False)


def test_an_upstream_that_is_awaited_is_cancelled_with_whoever_asked_and_by_the_deadline() -> None:
    async def main() -> None:
        slow = Slow()
        driver = AsyncDriver(World({"slow": slow}))
        asked = generate(Generate("slow", MESSAGES))
        assert (await _ended(driver, asked, slow.begun)).cancelled()
        with pytest.raises(UpstreamTimeout, match="'slow': did not answer before the deadline"):
            await driver.run(generate(Generate("slow", MESSAGES)), Recording(), seconds=0.02)
        assert slow.ended == ["cancelled", "cancelled"]
        assert slow.asked == [], "it was not asked on a thread either"
        await driver.aclose()

    asyncio.run(main())


def test_an_upstream_that_can_be_awaited_is_and_takes_up_no_thread() -> None:
    slow = {"a": Awaited("a", always("x"), seconds=30), "b": Awaited("b", always("Nigeria"))}

    async def main() -> None:
        driver = AsyncDriver(world_of(slow))
        reply = await driver.run(generate(Generate("b", MESSAGES)), Recording())
        assert reply.value.choices[0].text == "Nigeria"
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("gate-local")]
        with pytest.raises(UpstreamTimeout):
            await driver.run(generate(Generate("a", MESSAGES)), Recording(), seconds=0.05)
        await driver.aclose()

    asyncio.run(main())
    assert slow["a"].cancelled.is_set()
