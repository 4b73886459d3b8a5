"""Killed in mid-write, over and over: the whole server at once with SIGKILL, then started again on what it left.

Every decision that a response named before the kill must be in the log, whatever the server was doing. That is what a
durable log promises; without it the last moments are lost, and how much that is is measured beside it. It is the
process that dies and not the machine: what it had handed to the system is kept, and that a disk keeps what it is told
to is not tried, though all databases wait for it (fsync).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp

from tests.benchmarks.proxy.server_process import CannotStart
from tests.benchmarks.reliability.accounting import DECIDED, Asked, Kind, answered_once
from tests.benchmarks.reliability.load import PATIENCE, Codes, Load
from tests.benchmarks.reliability.questions import TENANTS
from tests.benchmarks.reliability.worlds import Servers, Setup, Unavailable, decided_anew, in_log, world

AT_ONCE = 50
"""Keys that are sent again side by side."""
Again = tuple[Asked, tuple[Asked, Asked]]
"""A request, and the two that came again for it."""
_MANY = 10
"""Rounds, after which those that were cut off are sent again too: that takes a while, see `once_more`."""
_SOONEST, _LATEST = 0.3, 1.3
"""Seconds of load after which it is killed, drawn at random."""


@dataclass(slots=True)
class Rounds:
    """What came of them."""

    name: str
    wanted: int
    done: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    named: int = 0
    """Decisions that a response named."""
    lost: int = 0
    """Those of them that are not in the log."""
    rounds_with_loss: int = 0
    starts: list[float] = field(default_factory=list)
    """Seconds until it answered again."""
    repeated: int = 0
    """Idempotency keys under which more than one request was answered."""
    twice: int = 0
    """Those of them that were not answered the same."""
    again: int = 0
    """Keys that were sent again once it was there anew,"""
    refused_again: int = 0
    """and those whose answer was there before it was killed, and was not to be had again."""
    decided_anew: int = 0
    """Decisions of the log beside the first of their question. Where no response named that first one, its client knows
    but one decision: it was killed between writing the log and keeping the response."""
    reason: str = ""
    """Why it ended early."""


def killed(
    setup: Setup, rounds: int, rate: float, folder: Path, servers: Servers, say: Callable[[str], None]
) -> Rounds:
    """So many rounds."""
    made, loads, again = Rounds(setup.name, rounds), list[Load](), list[Again]()
    rng, codes = random.Random(11), Codes()
    try:
        with world(setup, folder, servers) as up:
            for place in range(rounds):
                load = Load(up.target(), rate, codes=codes, rng=random.Random(place))
                asyncio.run(_killed_under(load, up.gate.kill, rng.uniform(_SOONEST, _LATEST)))
                loads.append(load)
                names = {name for asked in load.asked for name in asked.decisions}
                lost = names - in_log(up.log)
                made.done += 1
                made.kinds += Counter(asked.kind for asked in load.asked)
                made.named += len(names)
                made.lost += len(lost)
                made.rounds_with_loss += bool(lost)
                made.starts.append(up.gate.start())
                again += asyncio.run(once_more(firsts(load, whole=True)))
                if place % 10 == 9:
                    say(f"{setup.name}: {made.done} of {rounds} rounds, {made.lost} of {made.named} decisions lost")
            if rounds >= _MANY:
                again += asyncio.run(once_more([each for load in loads for each in firsts(load, whole=False)]))
            made.decided_anew = decided_anew(up.log)
    except (Unavailable, CannotStart) as error:
        made.reason = str(error)
    made.again, made.refused_again = len(again), unanswered_again(again)
    made.twice = made.refused_again
    for load in loads:
        repeated, twice = answered_once(load.asked)
        made.repeated += repeated
        made.twice += twice
    return made


def firsts(load: Load, *, whole: bool) -> list[tuple[Load, Asked]]:
    """The first request of each key: those that were surely answered as a ``whole``, or the others. Not those of the
    tight tenant, whose limit repeats count against."""
    keyed = [asked for asked in load.asked if asked.key and not asked.repeats and asked.item.tenant in TENANTS]
    return [(load, asked) for asked in keyed if (asked.sure and asked.kind in DECIDED) is whole]


async def once_more(sending: Sequence[tuple[Load, Asked]]) -> list[Again]:
    """Them again, as clients do who do not know what became of them. Each twice, one after the other: for where the
    first was cut off nobody knows what they must get but that it is the same. What the server worked on when it was
    killed is free to be sent again once its lease is over, which takes 15 s: better all of it together."""
    timeout, made = aiohttp.ClientTimeout(total=PATIENCE), list[Again]()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:

        async def twice(load: Load, first: Asked) -> Again:
            two = (load._repeated(first), load._repeated(first))
            for asked in two:
                await load._until_told(session, load._noted(asked))
            return first, two

        for place in range(0, len(sending), AT_ONCE):
            made += await asyncio.gather(*(twice(load, first) for load, first in sending[place : place + AT_ONCE]))
    return made


def unanswered_again(again: Sequence[Again]) -> int:
    """Keys that were surely answered in full before, and were not once they came again."""
    return sum(
        first.sure and first.kind in DECIDED and any(asked.kind not in DECIDED for asked in two) for first, two in again
    )


async def _killed_under(load: Load, kill: Callable[[], None], seconds: float) -> None:
    """Requests that come when nobody is there any more are not sent: the load ends with the server."""
    over = asyncio.Event()

    async def killer() -> None:
        await asyncio.sleep(seconds)
        over.set()
        await asyncio.to_thread(kill)

    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(over.is_set))
        group.create_task(killer())


@dataclass(frozen=True, slots=True)
class Cost:
    """What it costs that a response waits for its decision to be written."""

    name: str
    p50: float
    p99: float
    answered: int


def cost(setup: Setup, rate: float, seconds: float, folder: Path, servers: Servers) -> Cost:
    """Latencies in seconds, at a steady rate. Raises `Unavailable`, `CannotStart`."""
    with world(setup, folder, servers) as up:
        load = Load(replace(up.target(), plain=True), rate, rng=random.Random(3))
        until = time.monotonic() + seconds
        asyncio.run(load.run(lambda: time.monotonic() > until))
    took = sorted(asked.done - asked.at for asked in load.asked if asked.status == 200)
    half, most = len(took) // 2, min(len(took) - 1, int(0.99 * len(took)))
    return Cost(setup.name, took[half] if took else 0.0, took[most] if took else 0.0, len(took))
