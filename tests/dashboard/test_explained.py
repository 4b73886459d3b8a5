"""One decision from what the log keeps of it, at every level."""

from __future__ import annotations

import dataclasses
import random

import pytest

from gate.dashboard.explained import cut, explained
from gate.log.explain import explanation
from gate.log.jsonl import without_text
from gate.traces import Failure, TapeEntry
from gate.types import Cost
from tests.dashboard.fake_reader import ASKED, NOW, POLICIES, a_decision, made_record

RECORD = made_record(random.Random(1), "d0", POLICIES[0], *ASKED[3][:2], NOW)
KEPT = a_decision(explanation=explanation(RECORD), answer=ASKED[3][1])


def test_every_step_with_its_signals_and_what_they_added() -> None:
    shown = explained(KEPT, RECORD)
    assert [step.stage for step in shown.steps] == [step.decision.stage.key for step in RECORD.steps]
    first, traced = shown.steps[0], RECORD.steps[0]
    assert first.missing == 5
    by_name = {signal.name: signal for signal in first.signals}
    assert by_name["vote_share"].missing == "no samples were drawn"
    assert by_name["token_margin_min"].value == traced.signals.value("token_margin_min")
    assert first.belief is not None
    assert traced.decision.confidence is not None
    assert first.belief.p == traced.decision.confidence.p
    assert first.cost.tokens == traced.cost.tokens


def test_the_ways_that_were_weighed_the_cheapest_first() -> None:
    for step in explained(KEPT, RECORD).steps:
        assert step.prospects
        assert [p.cost for p in step.prospects] == sorted(p.cost for p in step.prospects)


def test_calls_with_what_came_back_and_what_failed() -> None:
    failed = TapeEntry("k", "generate", Cost(1, 9, 0, 20.0), failure=Failure("large", "no answer in time"), to="large")
    shown = explained(KEPT, dataclasses.replace(RECORD, tape=(*RECORD.tape, failed)))
    assert [call.number for call in shown.calls] == list(range(1, len(shown.calls) + 1))
    assert shown.calls[0].texts[0] in (ASKED[3][1], "I am not certain.")
    assert (shown.calls[-1].failure, shown.calls[-1].texts) == ("no answer in time", ())
    assert any(call.kind == "retrieve" and "atlas" in call.texts[0] for call in shown.calls)


def test_what_was_sent_instead_of_a_draft() -> None:
    assert RECORD.outcome is not None
    refused = dataclasses.replace(RECORD, outcome=dataclasses.replace(RECORD.outcome, text="I do not know."))
    assert explained(KEPT, refused).said == "I do not know."
    answered = dataclasses.replace(RECORD, outcome=dataclasses.replace(RECORD.outcome, text=KEPT.answer))
    assert explained(KEPT, answered).said == ""


def test_numbers_alone_still_explain() -> None:
    shown = explained(dataclasses.replace(KEPT, question="", answer=""), without_text(RECORD))
    assert len(shown.steps) == len(RECORD.steps)
    assert (shown.calls, shown.earlier, shown.passages, shown.said) == ((), (), (), "")


@pytest.mark.parametrize("held", [{}, {"steps": None}, {"steps": [{}]}, {"steps": [{"confidence": {"p": 0.5}}]}])
def test_an_old_or_meagre_explanation_is_no_fault(held: dict[str, object]) -> None:
    shown = explained(a_decision(explanation=held), None)
    assert len(shown.steps) == len(held.get("steps") or ())  # type: ignore[arg-type]


def test_endless_texts_are_cut_with_a_mark() -> None:
    assert cut("x" * 20_000) == "x" * 20_000
    assert cut("x" * 20_001).endswith("… [20,001 characters in all]")
