"""Entries of requests as the proxy makes them, for what is told of them afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gate.log.entries import Entry
from gate.traces import Failure, TapeEntry, TraceRecord
from gate.types import Cost, Generations, Question, Usage
from tests.proxy.fake_gateway import GENERATION, outcome_of

SECRET = "the words of a user"


def asked(
    to: str = "small", kind: str = "generate", began: float = 100.0, seconds: float = 0.2, **kept: Any
) -> TapeEntry:
    cost = Cost(1, 10, 3, seconds, 0.001)
    if "failure" not in kept and kind == "generate":
        kept["generations"] = Generations((replace(GENERATION, text=SECRET),), Usage(10, 3), "tiny-1")
    return TapeEntry(key="k", kind=kind, cost=cost, to=to, began=began, **kept)


def failed(to: str = "small", *, timeout: bool = False, status: int | None = None, **kept: Any) -> TapeEntry:
    return asked(to, failure=Failure(to, "did not answer", status, timeout, said=SECRET), **kept)


def entry_of(*tape: TapeEntry, answered: bool = True, policy: str = "balanced", **kept: Any) -> Entry:
    outcome = outcome_of(replace(GENERATION, text=SECRET) if answered else None, refusal=SECRET)
    cost = replace(outcome.cost, money=0.25)
    record = TraceRecord(
        id="feed",
        started="2026-01-01T00:00:00.000+00:00",
        policy=policy,
        policy_fingerprint="0123456789abcdef",
        certified=True,
        steps=outcome.steps,
        question=Question.from_text(SECRET),
        tape=tape,
        outcome=replace(outcome, cost=cost),
        action=outcome.action,
        cost=cost,
    )
    return Entry(record, **{"seconds": 0.5, **kept})


def failed_entry(*tape: TapeEntry, **kept: Any) -> Entry:
    entry = entry_of(*tape, **{"status": 502, **kept})
    record = replace(
        entry.record, outcome=None, action=None, steps=(), cost=Cost(), error="upstream 'small': did not answer"
    )
    return replace(entry, record=record)
