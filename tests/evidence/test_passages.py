"""Passages: the facts that stand in the prompt of the round."""

from __future__ import annotations

import pytest

from gate.errors import EvidenceUnavailable
from gate.evidence import Passages, PassagesSource
from gate.ports import Evidence, Profile, Round
from gate.types import Cost, Passage, Question

FOUND = (Passage("lagos", "Lagos is a city in Nigeria.", 2.0), Passage("abuja", "Abuja is its capital.", 1.0))
ASKED = Question.from_text("Where is Lagos?")


def opening(passages: tuple[Passage, ...]) -> Round:
    return Round(1, ASKED, "small", Profile(), ASKED.messages, passages, cost=Cost(calls=9))


def test_the_passages_of_the_round_are_given_as_they_are_at_no_cost() -> None:
    with pytest.raises(StopIteration) as stopped:
        next(PassagesSource().gather(opening(FOUND), Evidence()))
    assert stopped.value.value == Passages(Cost(), FOUND)


def test_a_closed_book_round_has_none_and_says_so() -> None:
    with pytest.raises(EvidenceUnavailable, match="no passage is in the prompt"):
        next(PassagesSource().gather(opening(()), Evidence()))
