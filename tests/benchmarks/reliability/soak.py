"""A long run: a steady load, faults of the model's server at random, and what gate holds meanwhile."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.reliability.accounting import MODEL_TOO_FAST, Kind, Phases, Tally, tally
from tests.benchmarks.reliability.load import Load
from tests.benchmarks.reliability.processes import resources
from tests.benchmarks.reliability.refusals import UNSOUND
from tests.benchmarks.reliability.upstream import FAULTS
from tests.benchmarks.reliability.worlds import Servers, Setup, Unavailable, World, world

_EVERY, _FAULT = 8.0, 3.0
"""Seconds from one fault to the next, and of each."""
_REST = 20.0
"""Seconds after which idle connections are closed."""
_WARM = 0.2
"""Of the time, after which it holds what it needs; from then on it should grow no more."""


@dataclass(slots=True)
class Soaked:
    """What it held once it was warm, and at the end."""

    minutes: float
    tally: Tally
    faults: int
    """Those that the model's server saw come to calls."""
    samples: list[dict[str, float]] = field(default_factory=list)
    before: dict[str, float] = field(default_factory=dict)
    rest: dict[str, float] = field(default_factory=dict)
    """What it held when nothing was asked any more, and idle connections were closed."""

    @property
    def grown(self) -> dict[str, tuple[float, float]]:
        """By resource: the mean of the fifth of the time after it was warm, and of the last fifth."""
        part = max(1, int(len(self.samples) * _WARM))
        early, late = self.samples[part : 2 * part] or self.samples[:part], self.samples[-part:]
        return {name: (_mean(early, name), _mean(late, name)) for name in ("MB", "files", "threads")}


def _mean(samples: list[dict[str, float]], name: str) -> float:
    return sum(sample[name] for sample in samples) / len(samples) if samples else 0.0


def soak(minutes: float, rate: float, folder: Path, servers: Servers, say: Callable[[str], None]) -> Soaked:
    """Raises `Unavailable`, also where no fault was felt, `CannotStart`."""
    setup = Setup("soak", log="postgres" if servers.postgres else "sqlite", shared="redis" if servers.redis else "")
    with world(setup, folder, servers) as up:
        load = Load(up.target(), rate, rng=random.Random(17))
        before = resources(up.gate.pid)
        samples, faults = asyncio.run(_soaked(up, load, minutes * 60, say))
        missing = up.missing(name for asked in load.asked for name in asked.decisions)
        if not faults and minutes * 60 > _EVERY:
            raise Unavailable("none of its faults was felt")
        time.sleep(_REST)
        rest = resources(up.gate.pid)
    phases = Phases(0.0, load.asked[-1].at if load.asked else 0.0)  # faults come and go all the while
    found = tally(load.asked, phases, len(missing), cuts_are_lost=True, explained=(*UNSOUND, MODEL_TOO_FAST))
    return Soaked(minutes, found, faults, samples, before, rest)


async def _soaked(
    up: World, load: Load, seconds: float, say: Callable[[str], None]
) -> tuple[list[dict[str, float]], int]:
    until = time.monotonic() + seconds
    samples: list[dict[str, float]] = []
    rng = random.Random(23)
    faults = 0

    async def watching() -> None:
        while time.monotonic() < until:
            samples.append(resources(up.gate.pid))
            await asyncio.sleep(1.0)

    async def breaking() -> None:
        nonlocal faults
        while time.monotonic() + _EVERY < until:
            await asyncio.sleep(_EVERY - _FAULT)
            await asyncio.to_thread(up.upstream.change, rng.choice(FAULTS), rng.uniform(0.2, 0.8))
            await asyncio.sleep(_FAULT)
            await asyncio.to_thread(up.upstream.change)
            faults += (await asyncio.to_thread(up.upstream.felt)).calls > 0
            if faults and faults % 10 == 0:
                lost = sum(asked.kind is Kind.LOST and asked.done > 0 for asked in load.asked)
                say(f"soak: {len(load.asked)} asked, {faults} faults, {lost} lost, {samples[-1]['MB']:.0f} MB")

    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(lambda: time.monotonic() > until))
        group.create_task(watching())
        group.create_task(breaking())
    return samples, faults
