"""Exact match after normalising."""

from __future__ import annotations

import pytest

from gate.tuning.grading import ExactGrader
from gate.types import Question

ASKED = Question.from_text("Which one?")


@pytest.mark.parametrize(
    ("answer", "references", "correct"),
    [
        ("paris", ("Paris",), True),
        ("The Beatles.", ("Beatles",), True),
        ("  the\nbeatles ", ("The Beatles!",), True),
        ("U.S.A.", ("USA",), True),
        ("ＰＡＲＩＳ", ("Paris",), True),
        ("Cafe\u0301", ("café",), True),
        ("Straße", ("STRASSE",), True),
        ("Obama", ("Barack Obama", "Obama"), True),
        ("A", ("a",), True),
        ("Cafe", ("café",), False),
        ("1,000", ("1000",), False),
        ("-5", ("5",), False),
        ("3.5", ("35",), False),
        ("It is Paris", ("Paris",), False),
        ("not Paris", ("Paris",), False),
        ("I don't know", ("Paris",), False),
        ("", ("Paris",), False),
        ("Paris", (), None),
        ("Paris", (" ",), None),
    ],
)
def test_hard_cases(answer: str, references: tuple[str, ...], correct: bool | None) -> None:
    assert ExactGrader().grade(ASKED, answer, references).correct is correct
