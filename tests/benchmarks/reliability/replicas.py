"""Two replicas beside one: answers a second of a model's server that takes its time.

What bounds here is the setting ``limits.concurrency``: a replica works on six requests at once, each of which waits for
the model twice, so one can answer 20 a second and two 40, whatever the processor can do. So the ratio tells that
requests are spread, and that the store which two replicas share, limits of keys included, is in nobody's way at this
rate. How much a second machine adds where processors are the bound is not measured: here both share one machine's.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.reliability.load import Load, Target
from tests.benchmarks.reliability.worlds import Servers, Setup, world

PLACES, LATENCY = 6, 0.15
"""Requests that a replica works on at once, by its settings; seconds of one call of the model, of which a question
takes two in a row."""
AIM = 1.8
_WARM = 1.0
_MORE = 1.6
"""How much more is asked than two replicas can answer."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Answers a second of one replica, and of two in turn over one shared store."""

    one: float
    two: float

    @property
    def ratio(self) -> float:
        return self.two / self.one if self.one else 0.0


def compare(seconds: float, folder: Path, servers: Servers) -> Compared:
    """Raises `Unavailable`, `CannotStart`."""
    limits = {"concurrency": PLACES, "waiting": PLACES, "wait_seconds": 1}
    settings = {"limits": limits}
    shared = "redis" if servers.redis is not None else ""
    setup = Setup("replica", log="postgres" if servers.postgres else "sqlite", shared=shared, settings=settings)
    with ExitStack() as ending:
        first = ending.enter_context(world(setup, folder / "first", servers, latency=LATENCY))
        second = ending.enter_context(world(setup, folder / "second", servers, beside=first))
        one = _rate(Target((first.gate.url,), first.keys, streamed=0.0, plain=True), seconds)
        both = Target((first.gate.url, second.gate.url), first.keys, streamed=0.0, plain=True)
        return Compared(one, _rate(both, seconds))


def _rate(target: Target, seconds: float) -> float:
    """Good answers a second while far more is asked."""
    most = len(target.urls) * PLACES / (2 * LATENCY)
    load = Load(target, most * _MORE, rng=random.Random(5))
    until = time.monotonic() + _WARM + seconds
    asyncio.run(load.run(lambda: time.monotonic() > until))
    good = [asked for asked in load.asked if asked.status == 200 and _WARM <= asked.done < _WARM + seconds]
    return len(good) / seconds
