"""Passages that fit a question equally well and say different things, and those that only look like it."""

from __future__ import annotations

import pytest

from gate.evidence import Asked, Draft, Passages
from gate.ports import Evidence, Missing
from gate.signals.passages_agree import PassagesAgree
from gate.types import Cost, Generation, Passage, Question

LIBYA, LEBANON = "Tripoli is a city in Libya.", "The city of Tripoli belongs to Lebanon."


def read(question: str, draft: str, *texts: str, quoted: int = 1) -> float | Missing:
    found = tuple(Passage(str(place), text) for place, text in enumerate(texts))
    evidence = (
        Evidence().having(Draft(Cost(), Generation(draft), "m")).having(Asked(Cost(), Question.from_text(question)))
    )
    return PassagesAgree().measure(evidence.having(Passages(Cost(), found[:quoted], found)))


@pytest.mark.parametrize(
    ("question", "draft", "texts", "value"),
    [
        ("Where is Tripoli?", "Libya", (LIBYA, LEBANON), 0.5),
        ("Where is Tripoli?", "Libya", (LIBYA, LEBANON, LIBYA), 0.5),  # the same text is one passage
        ("Where is Tripoli?", "Libya", (LIBYA, "Tripoli lies in Libya.", LEBANON), 2 / 3),
        ("Where is Tripoli in Lebanon?", "Lebanon", (LIBYA, LEBANON), 1.0),
        ("Where is Tripoli?", "Libya", (LIBYA, "Oslo is a city in Norway."), 1.0),
        ("Where is Tripoli?", "Libya", (LIBYA,), 1.0),
        (
            "What is the capital of Libya?",
            "Tripoli",
            ("The capital of Libya is Tripoli.", "Libya is part of Africa."),
            1.0,
        ),
        (
            "Which city serves as capital of Libya?",
            "Tripoli",
            ("The capital of Libya is Tripoli.", "Sirte is a city in Libya.", "Sabha is a city in Libya."),
            1.0,
        ),
    ],
)
def test_the_share_of_the_best_fitting_that_hold_the_draft(
    question: str, draft: str, texts: tuple[str, ...], value: float
) -> None:
    assert read(question, draft, *texts) == pytest.approx(value)


def test_a_draft_that_no_fitting_passage_holds_says_nothing_of_the_question() -> None:
    assert read("Where is Tripoli?", "Ghana", LIBYA, LEBANON) == Missing(
        "no passage that fits the question best holds the draft"
    )


def test_a_draft_without_words_is_missing() -> None:
    assert read("Where is Tripoli?", "", LIBYA) == Missing("the draft says nothing")


def test_where_only_the_quoted_are_known_they_are_compared() -> None:
    found = (Passage("a", LIBYA), Passage("b", LEBANON))
    evidence = Evidence().having(Draft(Cost(), Generation("Libya"), "m"))
    evidence = evidence.having(Asked(Cost(), Question.from_text("Where is Tripoli?"))).having(Passages(Cost(), found))
    assert PassagesAgree().measure(evidence) == 0.5


def test_a_title_counts_as_text_of_its_passage() -> None:
    found = (Passage("a", "A city in Libya.", title="Tripoli"), Passage("b", "A city in Lebanon.", title="Tripoli"))
    evidence = Evidence().having(Draft(Cost(), Generation("Libya"), "m"))
    evidence = evidence.having(Asked(Cost(), Question.from_text("Where is Tripoli?")))
    assert PassagesAgree().measure(evidence.having(Passages(Cost(), found[:1], found))) == 0.5
