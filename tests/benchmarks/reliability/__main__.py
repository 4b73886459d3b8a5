"""Break gate's world under load, and say what clients saw, what the log holds, and how long it took to heal.

    make bench-reliability                          all of it, about 20 minutes
    python -m tests.benchmarks.reliability --quick  the short version, two minutes
    python -m tests.benchmarks.reliability --only faults rounds --faults redis killed [--rate 30]
    python -m tests.benchmarks.reliability --only soak --minutes 60

All of them fail where something was lost, refused for no reason, answered or charged twice, let out beyond the promise,
let in beyond a limit or kept out within it, came to the wrong tenant, did not come back, or could not be tried. What is
only slow is said and is no failure.

Starts a PostgreSQL and a Redis of its own (Debian: apt-get install postgresql redis-server); only loopback is spoken
to. A full disk takes root, who may mount one. Writes build/bench-reliability.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.benchmarks.proxy.load import ROOT
from tests.benchmarks.proxy.server_process import CannotStart
from tests.benchmarks.reliability import estimate, table
from tests.benchmarks.reliability.faults import FAULTS, Fault
from tests.benchmarks.reliability.load import Course
from tests.benchmarks.reliability.processes import Postgres
from tests.benchmarks.reliability.replicas import compare
from tests.benchmarks.reliability.rounds import cost, killed
from tests.benchmarks.reliability.rows import Pace, run
from tests.benchmarks.reliability.soak import soak
from tests.benchmarks.reliability.worlds import Servers, Setup, Unavailable, world
from tests.postgres import postgres
from tests.redis_server import redis_server

MEASURES = ("faults", "rounds", "cost", "replicas", "soak", "estimate")
FULL, QUICK = Course(2.0, 3.0, 7.0), Course(1.0, 1.0, 3.0)
_DURABLE = (Setup("durable: SQLite", durable=True), Setup("durable: PostgreSQL", log="postgres", durable=True))
_NOT = (Setup("not durable: SQLite"), Setup("not durable: PostgreSQL", log="postgres"))
Say = Callable[[str], None]


def servers(ending: ExitStack, skipped: list[str]) -> Servers:
    """Those that are to be had. Both wait for their disks, as those that people run do."""
    made = Servers()
    try:
        made.postgres = Postgres(ending.enter_context(postgres()))
        made.postgres.stop()
        made.postgres.start()
    except pytest.skip.Exception as reason:
        skipped.append(str(reason))
    try:
        made.redis = ending.enter_context(redis_server("always"))
    except pytest.skip.Exception as reason:
        skipped.append(str(reason))
    return made


def chosen(words: Sequence[str] | None, *, quick: bool) -> list[Fault]:
    """The faults whose names hold one of the words; all without any. Raises ValueError for a word in none of them."""
    listed = [fault for fault in FAULTS if fault.quick or not quick]
    lower = [word.lower() for word in words or [""]]
    idle = [word for word in lower if not any(word in fault.name.lower() for fault in listed)]
    if idle:
        among = "the short version has no fault" if quick else "there is no fault"
        raise ValueError(f"{among} whose name holds {' or '.join(map(repr, idle))}")
    return [fault for fault in listed if any(word in fault.name.lower() for word in lower)]


def measure(given: argparse.Namespace, say: Say) -> table.Found:
    found = table.Found()
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as scratch, ExitStack() as ending:
        folder = Path(scratch)
        shared = servers(ending, found.skipped)
        if "faults" in given.only:
            listed = chosen(given.faults, quick=given.quick)
            found.rows = run(listed, Pace(given.rate, QUICK if given.quick else FULL), folder / "faults", shared, say)
        if "rounds" in given.only:
            for setup in _DURABLE[:1] if given.quick else (*_DURABLE, *_NOT):
                rounds = given.rounds if setup.durable else min(10, given.rounds)
                found.rounds.append(killed(setup, rounds, given.rate, folder / f"rounds {setup.name}", shared, say))
                say(f"{found.rounds[-1].name}: {found.rounds[-1].lost} of {found.rounds[-1].named} decisions lost")
        for name, how in (("cost", _cost), ("replicas", _replicas), ("soak", _soak), ("estimate", _estimate)):
            if name in given.only:
                try:
                    how(given, folder / name, shared, found, say)
                except (Unavailable, CannotStart) as error:
                    found.skipped.append(f"{name}: {error}")
    return found


def _cost(given: argparse.Namespace, folder: Path, shared: Servers, found: table.Found, say: Say) -> None:
    for place, setup in enumerate((*_NOT, *_DURABLE)):
        setup = Setup(f"{setup.name}, steady", setup.log, durable=setup.durable)
        found.costs.append(cost(setup, given.rate, 8.0, folder / str(place), shared))
        say(f"cost: {found.costs[-1]}")


def _replicas(given: argparse.Namespace, folder: Path, shared: Servers, found: table.Found, say: Say) -> None:
    found.compared = compare(2.0 if given.quick else 8.0, folder, shared)
    say(f"replicas: {found.compared}")


def _soak(given: argparse.Namespace, folder: Path, shared: Servers, found: table.Found, say: Say) -> None:
    found.soaked = soak(given.minutes, given.rate, folder, shared, say)


def _estimate(given: argparse.Namespace, folder: Path, shared: Servers, found: table.Found, say: Say) -> None:
    if shared.postgres is None or shared.redis is None:
        found.skipped.append("the estimate takes PostgreSQL and Redis")
        return
    with world(Setup("estimated", log="postgres", shared="redis"), folder, shared):
        held = estimate.connections_held(shared.postgres)
    made = estimate.measured(shared, max(1, held))
    found.estimate = estimate.said(made) if made is not None else []


def main() -> None:
    given = _arguments()
    for ending in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # what was started is ended with it, also where it runs behind a shell
        signal.signal(ending, lambda *_: sys.exit("ended before it was through"))
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:.0f} s] {text}", flush=True)

    found = measure(given, say)
    heading = (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}; {given.rate:g} requests a second (Poisson), six calls of a model each; "
        f"{time.monotonic() - began:.0f} s"
    )
    text = f"{heading}\n\n{table.page(found)}"
    print(f"\n{text}")
    given.out.mkdir(exist_ok=True)
    (given.out / "bench-reliability.md").write_text(text + "\n", encoding="utf-8")
    said = json.dumps({"about": heading, **table.told(found)}, indent=1)
    (given.out / "bench-reliability.json").write_text(said + "\n", encoding="utf-8")
    if wrong := table.failed(found):
        sys.exit("\n".join(wrong))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MEASURES)
    parser.add_argument("--faults", nargs="+", help="those whose names hold one of these words")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rate", type=float, help="requests a second")
    parser.add_argument("--rounds", type=int, help="of being killed")
    parser.add_argument("--minutes", type=float, default=1.0, help="of the soak")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    given = parser.parse_args()
    given.only = given.only or (("faults", "rounds") if given.quick else MEASURES)
    if given.faults and "faults" not in given.only:
        parser.error("--faults chooses of the faults, which --only leaves out")
    try:
        chosen(given.faults, quick=given.quick)
    except ValueError as error:
        parser.error(str(error))
    given.rate = given.rate or (25.0 if given.quick else 30.0)
    given.rounds = given.rounds or (3 if given.quick else 50)
    return given


if __name__ == "__main__":
    main()
