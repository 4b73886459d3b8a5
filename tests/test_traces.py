"""What a trace holds when nobody asked for more: numbers and gate's own words."""

from __future__ import annotations

import dataclasses

import pytest

from gate.traces import Brought, Failure, TapeEntry, TraceRecord
from gate.types import Cost, Question


def record(**more: object) -> TraceRecord:
    return TraceRecord("1", "2026-01-01T00:00:00.000+00:00", "p", "f", True, (), **more)  # type: ignore[arg-type]


def test_a_trace_holds_no_text_unless_it_is_given_some() -> None:
    bare = record()
    assert (bare.question, bare.tape, bare.outcome, bare.error) == (None, (), None, None)
    assert bare.cost == Cost()
    assert record(question=Question.from_text("Where?")) != bare


def test_a_tape_entry_holds_the_reply_to_one_effect() -> None:
    replies = {"generations", "passages", "vectors", "entailments", "failure"}
    empty = TapeEntry("k", "generate", Cost())
    assert {name for name in replies if getattr(empty, name) is None} == replies
    failed = dataclasses.replace(empty, failure=Failure("small", "refused with status 500", 500))
    assert {name for name in replies if getattr(failed, name) is None} == replies - {"failure"}


@pytest.mark.parametrize(
    "made", [record(), TapeEntry("k", "generate", Cost()), Failure("small", "is down"), Brought("small", {})]
)
def test_what_is_kept_does_not_change(made: object) -> None:
    first = dataclasses.fields(made)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, first, "other")


def test_what_was_asked_for_was_not_brought_along() -> None:
    assert record().brought is None
    assert not TapeEntry("k", "generate", Cost()).brought
