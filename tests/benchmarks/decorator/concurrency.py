"""A thousand guarded calls at once: is any decision lost, or given to another's question?

Every call has a question of its own and an answer that only it can give, after a wait drawn at random, so that they
overtake each other; each is asked again for samples. What comes back is held against what was asked, and so is the
trace of its decision.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gate
from gate.decorator.decided import Decided

THREADS = 64
_LONGEST = 0.02
"""Seconds a call waits at most."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """What came of so many calls at once."""

    how: str
    calls: int
    lost: int
    """Calls without a decision of their own."""
    mixed_up: int
    """Decisions whose answer, or whose question, is another call's."""
    asked_again: int
    """Calls of the function for samples."""
    seconds: float


def _right(number: int) -> str:
    return f"answer {number}"


def tasks(policy: Path, calls: int = 1000) -> Crowd:
    """All of them tasks of one event loop."""
    chance = random.Random(8)

    @gate.guard(policy, samples="again")
    async def ask(question: str) -> str:
        await asyncio.sleep(chance.random() * _LONGEST)
        return _right(int(question.rsplit(" ", 1)[-1]))

    async def everybody() -> list[Decided[str]]:
        return await asyncio.gather(*(ask.decided(f"question {number}") for number in range(calls)))

    began = time.monotonic()
    decided = asyncio.run(everybody())
    return _counted("tasks of one event loop", decided, ask.calls.again, time.monotonic() - began)


def threads(policy: Path, calls: int = 1000) -> Crowd:
    """From a pool of threads."""

    @gate.guard(policy, samples="again", side_by_side=False)
    def ask(question: str) -> str:
        time.sleep(random.random() * _LONGEST / 10)
        return _right(int(question.rsplit(" ", 1)[-1]))

    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        decided = list(pool.map(ask.decided, (f"question {number}" for number in range(calls))))
    return _counted(f"{THREADS} threads", decided, ask.calls.again, time.monotonic() - began)


def _counted(how: str, decided: Sequence[Decided[str]], again: int, seconds: float) -> Crowd:
    lost = len(decided) - len({each.id for each in decided})
    mixed = sum(not _is_of(each, number) for number, each in enumerate(decided))
    return Crowd(how, len(decided), lost, mixed, again, seconds)


def _is_of(decided: Decided[str], number: int) -> bool:
    asked = decided.trace.question
    drafted = [entry.generations.choices[0].text for entry in decided.trace.tape if entry.generations]
    return (
        decided.value == _right(number)
        and asked is not None
        and asked.text == f"question {number}"
        and set(drafted) == {_right(number)}
    )


def table(rows: Sequence[Crowd]) -> str:
    lines = [
        "| at once | calls | decisions lost | mixed up | calls for samples | seconds |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.how} | {row.calls:,} | {row.lost} | {row.mixed_up} | {row.asked_again:,} | {row.seconds:.1f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def told(rows: Sequence[Crowd]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]
