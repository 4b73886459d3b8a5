"""The resident set of gate's worker as requests go by, its log on."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.proxy.contestants import Contestant
from tests.benchmarks.proxy.load import Load, wrk
from tests.benchmarks.proxy.rounds import start
from tests.benchmarks.proxy.upstream import ANSWER

FIRST = 10_000
EVERY = 50_000
"""Requests between two looks."""
_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Sample:
    requests: int
    megabytes: float


@dataclass(frozen=True, slots=True)
class Grown:
    """What came of it."""

    samples: tuple[Sample, ...]
    failed: int
    kept: int
    """Decisions in the log at the end."""
    log_bytes: int

    @property
    def growth(self) -> float:
        """Megabytes more at the end than after the first 10,000."""
        return self.samples[-1].megabytes - self.samples[0].megabytes

    @property
    def slope(self) -> float | None:
        """Megabytes for 100,000 requests more, by least squares over the second half; None from too few looks."""
        return slope(self.samples[len(self.samples) // 2 :])

    def told(self) -> dict[str, Any]:
        return {**asdict(self), "growth MB": self.growth, "MB for 100,000 more": self.slope}


def slope(samples: tuple[Sample, ...]) -> float | None:
    if len(samples) < 2:
        return None
    x, y = [s.requests / 1e5 for s in samples], [s.megabytes for s in samples]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - middle_x) ** 2 for a in x)
    return sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / spread


def grown(each: Contestant, folder: Path, requests: int) -> Grown:
    """Start the server, send it so many requests, end it. Raises `CannotStart` and `LoadFailed`."""
    server = start(each, folder)
    samples: list[Sample] = []
    done = failed = 0
    try:
        server.wait_until_it_answers(each.asked, ANSWER)
        rate = 0.0
        while done < requests:
            aim = min(requests, FIRST if done < FIRST else (done // EVERY + 1) * EVERY)
            load = wrk(each.asked, _CONNECTIONS, seconds_for(aim - done, rate))
            done, failed, rate = done + load.requests, failed + load.failed, _rate(load)
            if done >= aim:
                samples.append(Sample(done, server.resident))
    finally:
        server.stop()
    return Grown(tuple(samples), failed, *_log(each))


def seconds_for(requests: int, rate: float) -> int:
    """Whole seconds, as wrk takes them: enough at this rate, never less than one, and one at a rate not known yet."""
    return max(1, -int(-requests // rate)) if rate else 1


def _rate(load: Load) -> float:
    return load.requests / load.seconds


def _log(each: Contestant) -> tuple[int, int]:
    if each.log is None:
        return 0, 0
    with contextlib.closing(sqlite3.connect(each.log)) as log:
        (kept,) = log.execute(f"SELECT count(*) FROM {each.table}").fetchone()
    return int(kept), each.log.stat().st_size
