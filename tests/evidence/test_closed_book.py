"""Closed book: what is asked when the passages are taken away, and when it is known already."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.drivers import Recording, ThreadedDriver
from gate.effects import Flow
from gate.errors import EvidenceUnavailable
from gate.evidence import ClosedBook, ClosedBookSource, Draft
from gate.full_evidence import full_evidence
from gate.pipeline import answer
from gate.ports import Evidence
from gate.types import Cost, Generation
from tests.evidence.asking_again import ASKED, gathered, reading
from tests.scripted import Scripted, always, plan_over, world_of


def test_the_question_is_asked_again_as_the_caller_put_it() -> None:
    small = Scripted("small", always("Nigeria."))
    fact = gathered(ClosedBookSource(), reading("Lagos is a city in Nigeria.", tokens_left=50), small)
    assert isinstance(fact, ClosedBook)
    assert (fact.same, fact.similarity, fact.cost.calls) == (True, 1.0, 1)
    (asked,) = small.asked
    assert (asked.messages, asked.n, asked.temperature, asked.cap) == (ASKED.messages, 1, 0.0, 50)


def test_memory_that_says_otherwise_is_not_the_same() -> None:
    fact = gathered(ClosedBookSource(), reading("Lagos is a city in Nigeria."), Scripted("small", always("Peru")))
    assert isinstance(fact, ClosedBook)
    assert not fact.same
    assert fact.similarity < 0.7


def test_what_an_earlier_round_was_told_is_not_asked_again() -> None:
    small = Scripted("small", always("Peru"))
    round_ = replace(reading("Lagos is a city in Nigeria."), closed_book=Generation("Nigeria"))
    fact = gathered(ClosedBookSource(), round_, small)
    assert fact == ClosedBook(Cost(), Generation("Nigeria"), True, 1.0)
    assert small.asked == []


def test_without_passages_there_is_nothing_to_take_away() -> None:
    small = Scripted("small", always("Nigeria"))
    with pytest.raises(EvidenceUnavailable, match="no passage is in the prompt"):
        gathered(ClosedBookSource(), reading(), small)
    silent = Evidence().having(Draft(Cost(), Generation(""), "small"))
    with pytest.raises(EvidenceUnavailable, match="says nothing"):
        gathered(ClosedBookSource(), reading("Lagos"), small, evidence=silent)
    assert small.asked == []


@pytest.mark.parametrize("whole", [False, True], ids=["serving", "collecting"])
def test_the_draft_of_the_round_before_is_the_closed_book_answer_and_costs_no_call(whole: bool) -> None:
    """Five different samples closed book send the question on to the passages, and there the draft differs."""
    small = Scripted("small", lambda e, i: "Nigeria" if "city" in e.messages[-1].content else f"answer {e.n} {i}")
    plan = plan_over({"small": small}, passages=True)
    plan = replace(plan, tiers=((*plan.tiers[0], ClosedBookSource()),))
    flow: Flow[object] = full_evidence(plan, ASKED) if whole else answer(plan, ASKED)
    recording, driver = Recording(), ThreadedDriver(world_of({"small": small}))
    driver.run(flow, recording)
    driver.close()
    assert len([effect for effect in small.asked if effect.messages == ASKED.messages and effect.n == 1]) == 1
    if not whole:
        assert recording.steps[-1].signals.value("closed_book_agreement") == 0.0
