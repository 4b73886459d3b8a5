"""Decisions for the tests of the log, with texts that are easy to find where they should not be."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

from gate.log.entries import Entry
from gate.log.opening import DecisionLog
from gate.traces import TapeEntry, TraceRecord
from gate.types import (
    Action,
    Confidence,
    Contribution,
    Cost,
    Decision,
    Generation,
    Generations,
    Message,
    Outcome,
    Passage,
    Question,
    Reading,
    SignalVector,
    Stage,
    Step,
    TokenLogprob,
    Vectors,
)
from tests.hidden_states.blocks import states

QUESTION, ANSWER, PASSAGE, OPTION = "Where is Zanzibar, asks Ophelia?", "Tanzania it is", "an archipelago", "Mulberry"
SECRETS = ("Zanzibar", "Ophelia", "Tanzania", "archipelago", "Mulberry")
START = 1_750_000_000.0


def step(action: Action = Action.ANSWER, p: float = 0.9, **cost: Any) -> Step:
    confidence = Confidence(p, p - 0.1, 0.95, (Contribution("vote_share", 1.5),), base=0.25)
    reason = "confident" if action is Action.ANSWER else "uncertain"
    readings = (Reading("token_logprob_sum", -0.5), Reading("vote_share", None, "was not gathered"))
    paid = {"calls": 1, "prompt_tokens": 10, "completion_tokens": 2, "seconds": 0.25, "money": 0.5, **cost}
    return Step(Decision(action, reason, Stage("small"), confidence, 0.8), SignalVector(readings), Cost(**paid))


def record(id_: str, at: float = START, action: Action = Action.ANSWER, p: float = 0.9, **fields: Any) -> TraceRecord:
    """One decision without text."""
    started = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    only = step(action, p)
    given: dict[str, Any] = {"action": action, "cost": only.cost, **fields}
    return TraceRecord(
        id_, started, given.pop("policy", "mine"), given.pop("fingerprint", "abc"), True, (only,), **given
    )


def worded(id_: str, at: float = START, action: Action = Action.ANSWER, p: float = 0.9, **fields: Any) -> TraceRecord:
    """One decision with all that was said, embedded, and read inside the model."""
    said = Generation(ANSWER, tokens=(TokenLogprob(ANSWER, -0.1, ((ANSWER, -0.1), ("Kenya", -3.0))),), states=states())
    passages = (Passage("z", PASSAGE, 2.0),)
    made = record(id_, at, action, p, **fields)
    told = action is Action.ANSWER
    outcome = Outcome(
        action,
        ANSWER if told else "I do not know.",
        made.steps,
        made.cost,
        said if told else None,
        "small",
        passages,
        withheld=None if told else said,
    )
    tape = (
        TapeEntry("k1", "generate", made.cost, Generations((said,)), to="small"),
        TapeEntry("k2", "retrieve", Cost(), passages=passages),
        TapeEntry("k3", "embed", Cost(), vectors=Vectors(((0.6, 0.8),))),
    )
    question = Question((Message("user", QUESTION, {"role": "user", "content": QUESTION}),), {"user": OPTION})
    return dataclasses.replace(made, question=question, tape=tape, outcome=outcome)


def entry(id_: str, at: float = START, *, action: Action = Action.ANSWER, p: float = 0.9, **fields: Any) -> Entry:
    """One entry without text; ``fields`` are of the entry, and ``policy`` and ``fingerprint`` of its record."""
    of_record = {name: fields.pop(name) for name in ("policy", "fingerprint", "cost", "error") if name in fields}
    return Entry(record(id_, at, action, p, **of_record), **fields)


def kept(log: DecisionLog, *entries: Entry) -> None:
    """Put entries in, and wait until they are in the database."""
    for each in entries:
        assert log.writer.put(each)
    assert log.writer.flush(20)
    assert log.writer.failed == 0
