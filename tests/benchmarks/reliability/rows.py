"""Running the faults: each under load, in a world that stays for the next as long as it fits.

gate itself is started anew for each: a breaker that one fault has opened would keep the next from being seen.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gate.errors import first_of
from tests.benchmarks.proxy.server_process import CannotStart
from tests.benchmarks.reliability.accounting import Tally, tally
from tests.benchmarks.reliability.charges import account, accounts
from tests.benchmarks.reliability.faults import Fault
from tests.benchmarks.reliability.load import Codes, Course, Load, through
from tests.benchmarks.reliability.refusals import explained_by
from tests.benchmarks.reliability.upstream import Felt
from tests.benchmarks.reliability.worlds import Servers, Setup, Unavailable, World, world

Say = Callable[[str], None]
NOT_FELT = "not felt"
FELT_WITHIN = 5.0
"""Seconds that a fault goes on for at most until it is felt."""
PROBES = 4.0
"""Calls a second that try whether a server answers again: a breaker lets one at a time through, three in a row at most,
and is open for no less than 0.75 s between."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a fault came to; without a tally it was not done, for the reason."""

    name: str
    tally: Tally | None
    reason: str = ""
    kept: bool = True
    """Whether every decision that a response named should be in the log."""
    unpromised: str = ""
    """Why nobody can keep the promise through it: it is shown, and no aim counts it."""
    let_through: str = ""
    """How many calls came to a server that was to be left alone, where they are too many."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is done of each."""

    rate: float
    """Requests a second."""
    course: Course


def under_fault(made: World, fault: Fault, pace: Pace, codes: Codes, seed: int = 0) -> Row:
    """One row: the load, the fault in the middle of it, and what the log has in the end."""
    was = None if fault.again else accounts(made)  # who is killed may have charged what it did not answer
    load = Load(made.target(again=fault.again), pace.rate, codes=codes, rng=random.Random(seed))
    felt, through_breaker = False, Felt()

    def begin() -> None:
        load.rate = pace.rate * fault.crowd
        made.mark()
        fault.begin(made)

    def end() -> None:
        nonlocal felt, through_breaker
        try:
            felt = not fault.at_once and is_felt(made, fault)
            through_breaker = made.upstream.felt() if fault.shut else through_breaker
        finally:
            load.rate = pace.rate
            fault.end(made)

    phases = asyncio.run(through(load, course_of(fault, pace.course), begin, end))
    if not felt and not (fault.at_once and is_felt(made, fault)):
        return Row(fault.name, None, NOT_FELT)
    missing = made.missing(name for asked in load.asked for name in asked.decisions)
    fills, explained = made.setup.fills, explained_by(fault)
    found = tally(load.asked, phases, len(missing), cuts_are_lost=not fault.again, fills=fills, explained=explained)
    if was is not None:
        account(found, load.asked, was, made)
    if load.unsent:
        found.notes.append(f"{load.unsent} not sent: too many were under way")
    if any(asked.kind.value == "lost" and asked.status for asked in load.asked):
        statuses = {asked.status for asked in load.asked if asked.kind.value == "lost"}
        found.notes.append(f"no clear response, of status {sorted(statuses)}")
    kept, ignored = made.setup.durable or not fault.again, too_many(through_breaker)
    return Row(fault.name, found, kept=kept, unpromised=fault.unpromised, let_through=ignored)


def course_of(fault: Fault, course: Course) -> Course:
    during = 0.0 if fault.at_once else max(course.during, fault.during)
    return Course(course.before, during, max(course.after, fault.after))


def is_felt(made: World, fault: Fault) -> bool:
    """Where it takes a moment, that is given, while it lasts."""
    until = time.monotonic() + FELT_WITHIN
    while not fault.felt(made):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def too_many(felt: Felt) -> str:
    """What an open breaker let through, where that is more than calls that try whether the server answers."""
    most = PROBES * (1 + felt.seconds)
    return f"{felt.late} calls in {felt.seconds:.1f} s, of {int(most)} at most" if felt.late > most else ""


def run(faults: Sequence[Fault], pace: Pace, folder: Path, servers: Servers, say: Say) -> list[Row]:
    """All of them, in order."""
    rows: list[Row] = []
    codes = Codes()
    for setup, listed in _grouped(faults):
        with ExitStack() as ending:
            try:
                made = ending.enter_context(world(setup, folder / setup.name, servers))
            except (Unavailable, CannotStart) as error:
                rows += [Row(fault.name, None, str(error)) for fault in listed]
                continue
            for number, fault in enumerate(listed):
                if number:
                    made.gate.stop()
                row = _tried(made, fault, pace, codes, seed=len(rows))
                say(f"{row.name}: {row.reason or _shortly(row.tally)}")
                rows.append(row)
    return rows


def _tried(made: World, fault: Fault, pace: Pace, codes: Codes, seed: int) -> Row:
    if made.gate.ended() or not made.gate.answers():
        try:
            made.gate.kill()
            made.gate.start()
        except CannotStart as error:
            return Row(fault.name, None, str(error))
    try:
        return under_fault(made, fault, pace, codes, seed)
    except BaseExceptionGroup as errors:
        return Row(fault.name, None, f"it did not heal: {first_of(errors)}")
    except Unavailable as error:
        return Row(fault.name, None, str(error))


def _grouped(faults: Iterable[Fault]) -> list[tuple[Setup, list[Fault]]]:
    groups: list[tuple[Setup, list[Fault]]] = []
    for fault in faults:
        if not groups or groups[-1][0] is not fault.setup:
            groups.append((fault.setup, []))
        groups[-1][1].append(fault)
    return groups


def _shortly(found: Tally | None) -> str:
    if found is None:
        return ""
    kinds = ", ".join(f"{kind.value} {count}" for kind, count in found.kinds.items())
    return f"{found.tries} tries: {kinds}; missing {found.missing} of {found.named}; back in {found.recovery} s"
