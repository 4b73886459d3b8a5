"""Run a flow with either live driver, and compare what came out."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from gate.drivers import AsyncDriver, Recording, ThreadedDriver, World
from gate.effects import Flow, Generate
from gate.types import Message, Outcome, Question
from tests.scripted import Answer

ASKED = Question.from_text("Where is Lagos?")
MESSAGES = (Message("user", "Where is Lagos?"),)
both = pytest.mark.parametrize("threaded", [True, False], ids=["threaded", "async"])


def run(world: World, flow: Flow[object], *, threaded: bool, seconds: float | None = None) -> tuple[object, Recording]:
    recording = Recording()
    if threaded:
        driver = ThreadedDriver(world)
        try:
            return driver.run(flow, recording, seconds=seconds), recording
        finally:
            driver.close()

    async def main() -> object:
        driver = AsyncDriver(world)
        try:
            return await driver.run(flow, recording, seconds=seconds)
        finally:
            await driver.aclose()

    return asyncio.run(main()), recording


def untimed(outcome: object) -> Outcome:
    """An outcome with clock readings taken out."""
    assert isinstance(outcome, Outcome)
    steps = tuple(dataclasses.replace(s, cost=dataclasses.replace(s.cost, seconds=0.0)) for s in outcome.steps)
    return dataclasses.replace(outcome, steps=steps, cost=dataclasses.replace(outcome.cost, seconds=0.0))


def doubtful(effect: Generate, place: int) -> Answer:
    """Right once passages are in the prompt; before that every sample says something else."""
    if "passages" in effect.messages[-1].content:
        return "Nigeria"
    return "Ghana" if effect.temperature == 0 else ("Ghana", "Togo", "Benin", "Nigeria", "Mali")[place]
