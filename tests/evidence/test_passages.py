"""Passages: the facts that stand in the prompt of the round."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.errors import EvidenceUnavailable
from gate.evidence import Passages, PassagesSource
from gate.evidence.passages import bearing
from gate.evidence.wordings import answer_text
from gate.ports import Evidence, Profile, Round
from gate.types import Cost, Generation, Passage, Question

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


@pytest.mark.parametrize(
    ("generation", "ids"),
    [
        (Generation("Nigeria [1]", cites=True), ("lagos",)),
        (Generation("Abuja [2], and Nigeria [1][2]", cites=True), ("abuja", "lagos")),
        (Generation("Nigeria [7]", cites=True), ("lagos",)),  # a number that names no passage
        (Generation("Nigeria [0]", cites=True), ("lagos",)),
        (Generation("Peru [7]", cites=True), ()),
        (Generation("Nigeria"), ("lagos",)),
        (Generation("abuja."), ("abuja",)),
        (Generation("Abuja [1]"), ()),  # nobody asked for numbers
        (Generation("city in"), ("lagos",)),
        (Generation("igeria"), ()),
        (Generation(""), ()),
        (Generation("Nigeria", refusal="no"), ()),
    ],
)
def test_an_answer_rests_on_what_it_cites_or_else_on_what_holds_it(
    generation: Generation, ids: tuple[str, ...]
) -> None:
    assert bearing(generation, FOUND) == ids


@pytest.mark.parametrize("text", ["Paris [1]", "Paris[1].", "[2] Paris", "Paris [1, 2]"])
def test_what_an_answer_cites_is_no_part_of_it_where_answers_are_compared(text: str) -> None:
    assert answer_text(Generation(text, cites=True)) == answer_text(Generation("paris"))
    assert answer_text(Generation(text)) != answer_text(Generation("paris"))


def test_what_the_search_found_beside_those_quoted_is_known_too() -> None:
    found = (Passage("a", "one"), Passage("b", "two"))
    with pytest.raises(StopIteration) as stopped:
        next(PassagesSource().gather(replace(opening(found[:1]), fetched=found), Evidence()))
    assert stopped.value.value == Passages(Cost(), found[:1], found)
