"""Containment, and the denials that undo it."""

from __future__ import annotations

import pytest

from gate.tuning.grading import ContainsGrader
from gate.types import Question

ASKED = Question.from_text("Which one?")


@pytest.mark.parametrize(
    ("answer", "references", "correct"),
    [
        ("It is Paris, of course.", ("Paris",), True),
        ("It was THE Beatles!", ("the beatles",), True),
        ("Washington, D.C. it is", ("Washington DC",), True),
        ("the Cafe\u0301 de Flore", ("café de flore",), True),
        ("答案是北京。", ("北京",), True),
        ("Obama", ("Barack Obama", "Obama"), True),
        ("Parisian", ("Paris",), False),
        ("15 km", ("5 km",), False),
        ("1,000", ("1000",), False),
        ("5000 m", ("5 km",), False),
        # denied
        ("not Paris", ("Paris",), False),
        ("It isn't in Paris", ("Paris",), False),
        ("It isn\u2019t Paris", ("Paris",), False),
        ("It was never Paris", ("Paris",), False),
        ("It cannot be Paris", ("Paris",), False),
        ("Paris is wrong", ("Paris",), False),
        ("Paris isn't it", ("Paris",), False),
        ("It is Lyon, not Paris", ("Paris",), False),
        # not denied, although a denial stands near
        ("No, Paris", ("Paris",), True),
        ("It is Paris, not London", ("Paris",), True),
        ("not London but Paris", ("Paris",), True),
        ("It is not London. Paris", ("Paris",), True),
        ("none other than Paris", ("Paris",), True),
        ("No doubt Paris", ("Paris",), True),
        ("not guilty", ("not guilty",), True),
        ("not guilty", ("guilty",), False),
        # both, or neither
        ("Paris! No, not Paris.", ("Paris",), None),
        ("I don't know, maybe Paris", ("Paris",), None),
        ("I don't know", ("Paris",), False),
        ("", ("Paris",), False),
        ("Paris", (), None),
    ],
)
def test_hard_cases(answer: str, references: tuple[str, ...], correct: bool | None) -> None:
    assert ContainsGrader().grade(ASKED, answer, references).correct is correct


def test_it_says_why() -> None:
    assert (
        ContainsGrader().grade(ASKED, "not Paris", ("Paris",)).reason
        == "a reference stands in the answer but is denied"
    )
