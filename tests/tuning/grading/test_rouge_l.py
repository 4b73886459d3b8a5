"""ROUGE-L, with values worked by hand."""

from __future__ import annotations

import pytest

from gate.tuning.grading import RougeLGrader
from gate.types import Question

ASKED = Question.from_text("Which one?")


@pytest.mark.parametrize(
    ("answer", "references", "score", "correct"),
    [
        ("police killed the gunman", ("police kill the gunman",), 4 / 6, True),  # police, gunman of three each
        ("gunman police", ("police gunman",), 1 / 2, True),
        ("The capital of France is Paris.", ("Paris",), 2 / 6, True),
        ("It is said that the capital of it is Paris.", ("Paris",), 2 / 10, False),
        ("London", ("Paris", "Lyon"), 0.0, False),
        ("the Café", ("cafe\u0301",), 1.0, True),
    ],
)
def test_hard_cases(answer: str, references: tuple[str, ...], score: float, correct: bool) -> None:
    grade = RougeLGrader().grade(ASKED, answer, references)
    assert grade.score == pytest.approx(score)
    assert grade.correct is correct


def test_the_threshold_is_an_option() -> None:
    assert RougeLGrader(threshold=0.6).grade(ASKED, "gunman police", ("police gunman",)).correct is False


def test_what_is_no_answer_is_wrong_and_without_a_reference_open() -> None:
    assert RougeLGrader().grade(ASKED, " ", ("Paris",)).correct is False
    assert RougeLGrader().grade(ASKED, "I don't know", ("Paris",)).correct is False
    assert RougeLGrader().grade(ASKED, "Paris", ()).correct is None
