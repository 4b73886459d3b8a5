"""Every contestant at every number of connections, round after round, so that what disturbs one disturbs all.

All servers are up throughout; those whose turn it is not are frozen. Medians over the rounds.
"""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.proxy.contestants import Absent, Contestant
from tests.benchmarks.proxy.load import GATEWAY_CORE, Asked, Load, LoadFailed, at_rate, wrk
from tests.benchmarks.proxy.server_process import CannotStart, ServerProcess
from tests.benchmarks.proxy.upstream import ANSWER

CONNECTIONS = (1, 32, 256)
AT_HALF = 32
"""Connections of the load at half of what a contestant can do."""
FASTEST = 8000.0
"""Requests a second beyond which the generator of arrivals itself would be measured."""
FEWEST = 400
"""Requests at a rate that a 99th percentile is taken of, where twice the time is enough for it."""


@dataclass(slots=True)
class Measured:
    """One contestant's figures so far."""

    contestant: Contestant
    server: ServerProcess | None
    warm: list[Load] = field(default_factory=list)
    """Of the warm-up."""
    busy: dict[int, list[Load]] = field(default_factory=lambda: {n: [] for n in CONNECTIONS})
    """By connections."""
    half: list[Load] = field(default_factory=list)
    """At half of its own rate."""
    half_direct: list[Load] = field(default_factory=list)
    """The upstream alone at that rate, at the same time."""
    cpu: list[float] = field(default_factory=list)
    """Microseconds a request, at 32 connections."""
    resident: float | None = None
    """Megabytes, at the end."""
    logged: float | None = None
    """Share of the requests that its log holds."""
    troubles: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.contestant.name

    @property
    def answered(self) -> int:
        """Good answers in all."""
        loads = [load for listed in (self.warm, self.half, *self.busy.values()) for load in listed]
        return sum(load.requests - load.failed for load in loads)

    def rate(self, connections: int) -> float | None:
        return middle(load.rate for load in self.busy[connections])

    def latency(self, connections: int) -> tuple[float, float] | None:
        """p50 and p99, milliseconds."""
        return both(self.busy[connections])

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "busy": {str(n): [asdict(load) for load in loads] for n, loads in self.busy.items()},
            "half": [asdict(load) for load in self.half],
            "direct at the same rate": [asdict(load) for load in self.half_direct],
            "cpu microseconds a request": middle(self.cpu),
            "resident MB": self.resident,
            "share logged": self.logged,
            "troubles": self.troubles,
        }


def middle(values: Iterable[float]) -> float | None:
    listed = list(values)
    return statistics.median(listed) if listed else None


def both(loads: Sequence[Load]) -> tuple[float, float] | None:
    """Medians of p50 and p99 over the rounds, milliseconds."""
    if not loads:
        return None
    return statistics.median(load.p50 for load in loads), statistics.median(load.p99 for load in loads)


@contextlib.contextmanager
def started(listed: Iterable[Contestant], folder: Path) -> Iterator[list[Measured | Absent]]:
    """All of them, each started, warmed up and frozen; ended afterwards, when their logs are counted."""
    made: list[Measured | Absent] = []
    try:
        made.extend(_started(each, folder) for each in listed)
        yield made
    finally:
        for one in made:
            if isinstance(one, Measured) and one.server is not None:
                one.server.stop()
                one.logged = _logged(one)


def _started(each: Contestant, folder: Path) -> Measured | Absent:
    if not each.command:
        return Measured(each, None)
    server = start(each, folder)
    try:
        server.wait_until_it_answers(each.asked, ANSWER)
        warm = wrk(each.asked, AT_HALF, each.patience)
    except (CannotStart, LoadFailed) as error:
        server.stop()
        return Absent(each.name, str(error))
    server.freeze()
    return Measured(each, server, [warm])


def start(each: Contestant, folder: Path) -> ServerProcess:
    log = folder / f"{each.name}-{each.asked.port}.log"
    return ServerProcess(each.command, each.environment, GATEWAY_CORE, log)


def measure(listed: Sequence[Measured], direct: Asked, *, rounds: int, seconds: int) -> None:
    """Add the figures of some rounds to each."""
    for _ in range(rounds):
        for each in listed:
            with _awake(each):
                _round(each, direct, seconds)


@contextlib.contextmanager
def _awake(each: Measured) -> Iterator[None]:
    if each.server is None:
        yield
        return
    each.server.thaw()
    try:
        yield
    finally:
        each.resident = each.server.resident
        each.server.freeze()


def _round(each: Measured, direct: Asked, seconds: int) -> None:
    asked, seconds = each.contestant.asked, seconds * each.contestant.patience
    try:
        for connections in CONNECTIONS:
            before = each.server.cpu_seconds if each.server else 0.0
            load = wrk(asked, connections, seconds)
            each.busy[connections].append(load)
            if each.server and connections == AT_HALF and load.requests:
                each.cpu.append(1e6 * (each.server.cpu_seconds - before) / load.requests)
        rate = half_rate(each.rate(AT_HALF))
        if each.server is None or rate is None:
            return
        long = max(float(seconds), min(2.0 * seconds, FEWEST / rate))
        each.half_direct.append(at_rate(direct, AT_HALF, rate, long))
        each.half.append(at_rate(asked, AT_HALF, rate, long))
    except LoadFailed as error:
        each.troubles.append(str(error))


def half_rate(most: float | None) -> float | None:
    return min(FASTEST, most / 2) if most else None


def _logged(one: Measured) -> float | None:
    """The share of the requests it answered that have a row in its log; None where it keeps none."""
    path, table = one.contestant.log, one.contestant.table
    if path is None or not path.is_file() or not one.answered:
        return None
    with contextlib.closing(sqlite3.connect(path)) as log:
        rows: int = log.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return min(1.0, rows / one.answered)  # it also holds those that the load did not wait for
