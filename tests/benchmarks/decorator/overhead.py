"""What a guarded call takes more than the call itself, beside the bare function in the same run.

The function answers at once with what was scripted, so all that is measured is gate's: reading the answer, signals,
the calibrator, the rule, the trace. Bare and guarded calls take turns, in rounds; the overhead of a round is the
difference of their means.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

import gate
from gate.calibration.logistic import LogisticCalibrator
from gate.signals import SIGNALS
from gate.tuning.fit import fit
from tests.benchmarks.proxy.served_policies import TOKEN_SIGNALS, simulated
from tests.benchmarks.proxy.upstream import ANSWER

SAMPLES = 10
AIMS = {0: 150.0, SAMPLES: 1000.0}
"""Microseconds a decision at most, by how many samples are drawn."""
QUESTION = "Which lagoon did Portuguese sailors name in 1472, and which river flows into it?"
REPLY = {
    "model": "m",
    "usage": {"prompt_tokens": 20, "completion_tokens": len(ANSWER.split())},
    "choices": [
        {
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": ANSWER},
            "logprobs": {
                "content": [
                    {
                        "token": f" {word}" if place else word,
                        "logprob": -0.05 - 0.01 * (place % 7),
                        "top_logprobs": [
                            {"token": word, "logprob": -0.05 - 0.01 * (place % 7)},
                            *({"token": f"other{n}", "logprob": -3.5 - n} for n in range(4)),
                        ],
                    }
                    for place, word in enumerate(ANSWER.split())
                ]
            },
        }
    ],
}
"""As a server gives it that was asked for the log-probability of every token and four alternatives."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Of one kind of guarded function; microseconds a decision."""

    kind: str
    answer: str
    samples: int
    bare: float
    median: float
    worst: float
    """Of the rounds."""

    @property
    def met(self) -> bool:
        return self.median <= AIMS[self.samples]


def write_policy(folder: Path, samples: int) -> Path:
    """A policy over answers that the caller brings along, with a fitted calibrator. Returns its path."""
    signals = (*TOKEN_SIGNALS, "vote_share") if samples else TOKEN_SIGNALS
    stage = fit(simulated(signals), signals, {s.name: s.bounds for s in SIGNALS if s.name in signals})
    fitted = LogisticCalibrator(signals=signals, stages={"mine/closed_book/tier0": stage})
    (folder / f"{samples}-samples.json").write_text(fitted.dump(), "utf-8")
    policy: dict[str, Any] = {
        "name": f"{samples}-samples",
        "promise": {"max_error": 0.05},
        "upstreams": {"mine": {"kind": "caller", "identity": "scripted"}},
        "ladder": ["mine"],
        "tiers": [["draft", "samples", "meanings"] if samples else ["draft"]],
        "signals": list(signals),
        "calibrator": f"{samples}-samples.json",
        "rule": {"kind": "threshold", "answer_at": 0.05},
    }
    if samples:
        policy["evidence"] = {"samples": {"n": samples}, "meanings": {"judge": "lexical"}}
    path = folder / f"{samples}-samples.yaml"
    path.write_text(yaml.safe_dump(policy, sort_keys=False), "utf-8")
    return path


def text(question: str) -> str:
    return ANSWER


def reply(question: str) -> dict[str, Any]:
    return REPLY


async def text_async(question: str) -> str:
    return ANSWER


async def reply_async(question: str) -> dict[str, Any]:
    return REPLY


def pieces(question: str) -> Iterator[str]:
    yield from ANSWER.split(" ")


def measured(folder: Path, *, rounds: int = 15, calls: int = 200) -> list[Overhead]:
    """Every kind, with one draft and with ten samples."""
    one, ten = write_policy(folder, 0), write_policy(folder, SAMPLES)
    rows = [
        _sync("function", "text", 0, text, gate.guard(one)(text), rounds, calls),
        _sync("function", "tokens", 0, reply, gate.guard(one)(reply), rounds, calls),
        _sync("generator, held", "text", 0, *_drained(pieces, gate.guard(one)(pieces)), rounds, calls),
        _async("async function", "text", 0, text_async, gate.guard(one)(text_async), rounds, calls),
        _async("async function", "tokens", 0, reply_async, gate.guard(one)(reply_async), rounds, calls),
    ]
    few = max(20, calls // 4)
    again, one_by_one = gate.guard(ten, samples="again"), gate.guard(ten, samples="again", side_by_side=False)
    return [
        *rows,
        _sync("function, one by one", "text", SAMPLES, text, one_by_one(text), rounds, few),
        _sync("function, one by one", "tokens", SAMPLES, reply, one_by_one(reply), rounds, few),
        _sync("function, on threads", "text", SAMPLES, text, again(text), rounds, few),
        _async("async function", "text", SAMPLES, text_async, again(text_async), rounds, few),
        _async("async function", "tokens", SAMPLES, reply_async, again(reply_async), rounds, few),
    ]


def _drained(*functions: Callable[[str], Iterator[str]]) -> Sequence[Callable[[str], object]]:
    def draining(function: Callable[[str], Iterator[str]]) -> Callable[[str], object]:
        return lambda question: list(function(question))

    return [draining(function) for function in functions]


def _sync(
    kind: str,
    answer: str,
    samples: int,
    bare: Callable[[str], object],
    guarded: Callable[[str], object],
    rounds: int,
    calls: int,
) -> Overhead:
    def mean(function: Callable[[str], object]) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            function(QUESTION)
        return (time.perf_counter() - began) / calls * 1e6

    mean(guarded)  # what is made once is made now
    taken = [(mean(bare), mean(guarded)) for _ in range(rounds)]
    return _overhead(kind, answer, samples, taken)


def _async(
    kind: str,
    answer: str,
    samples: int,
    bare: Callable[[str], Awaitable[object]],
    guarded: Callable[[str], Awaitable[object]],
    rounds: int,
    calls: int,
) -> Overhead:
    async def mean(function: Callable[[str], Awaitable[object]]) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            await function(QUESTION)
        return (time.perf_counter() - began) / calls * 1e6

    async def all_rounds() -> list[tuple[float, float]]:
        await mean(guarded)
        return [(await mean(bare), await mean(guarded)) for _ in range(rounds)]

    return _overhead(kind, answer, samples, asyncio.run(all_rounds()))


def _overhead(kind: str, answer: str, samples: int, taken: Sequence[tuple[float, float]]) -> Overhead:
    """The bare call is made once a decision, and once more for each sample where it is called again: all of that is
    the function's own time."""
    bare = statistics.median(plain for plain, _ in taken)
    added = [guarded - plain * (1 + samples) for plain, guarded in taken]
    return Overhead(kind, answer, samples, bare, statistics.median(added), max(added))


def table(rows: Sequence[Overhead]) -> str:
    lines = [
        "| what is guarded | answers | samples | bare, µs | added a decision, median µs | worst round | aim |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.kind} | {row.answer} | {row.samples} | {row.bare:.2f} | {row.median:.0f} | {row.worst:.0f} "
        f"| {'met' if row.met else 'missed'}: at most {AIMS[row.samples]:.0f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def told(rows: Sequence[Overhead]) -> list[dict[str, Any]]:
    return [{**asdict(row), "met": row.met} for row in rows]
