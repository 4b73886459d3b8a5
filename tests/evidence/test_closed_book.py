"""Closed book: what is asked when the passages are taken away, and when it is known already."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.errors import EvidenceUnavailable
from gate.evidence import ClosedBook, ClosedBookSource, Draft
from gate.ports import Evidence
from gate.types import Cost, Generation
from tests.evidence.asking_again import ASKED, gathered, reading
from tests.scripted import Scripted, always


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
