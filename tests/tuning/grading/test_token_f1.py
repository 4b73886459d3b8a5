"""Token F1, with values worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.grading import TokenF1Grader
from gate.tuning.grading.token_f1 import token_f1, words_of
from gate.types import Question

ASKED = Question.from_text("Which one?")


@pytest.mark.parametrize(
    ("answer", "references", "score", "correct"),
    [
        ("the Paris", ("Paris",), 1.0, True),
        ("not Paris", ("Paris",), 2 / 3, True),  # the convention's blind spot
        ("The capital of France is Paris.", ("Paris",), 2 / 6, False),  # capital of france is paris
        ("Barack Obama", ("Obama", "President Barack Obama"), 4 / 5, True),
        ("a b c d", ("c d e f",), 4 / 7, True),  # the article is dropped: b c d and c d e f share two
        ("Paris Paris", ("Paris",), 2 / 3, True),
        ("London", ("Paris",), 0.0, False),
        ("1,000", ("1000",), 0.0, False),
        ("答案是北京", ("北京",), 4 / 7, True),
    ],
)
def test_hard_cases(answer: str, references: tuple[str, ...], score: float, correct: bool) -> None:
    grade = TokenF1Grader().grade(ASKED, answer, references)
    assert grade.score == pytest.approx(score)
    assert grade.correct is correct


def test_the_threshold_is_an_option_and_is_reached_by_what_equals_it() -> None:
    assert TokenF1Grader(threshold=1.0).grade(ASKED, "not Paris", ("Paris",)).correct is False
    assert TokenF1Grader(threshold=0.5).grade(ASKED, "x y z", ("x",)).correct is True  # 2 / 4


@pytest.mark.parametrize(("answer", "correct"), [("", False), ("I don't know", False)])
def test_what_is_no_answer_is_wrong(answer: str, correct: bool) -> None:
    assert TokenF1Grader().grade(ASKED, answer, ("Paris",)).correct is correct
    assert TokenF1Grader().grade(ASKED, answer, ()).correct is None


@given(st.text(), st.text())
def test_it_is_symmetric_and_a_share(one: str, other: str) -> None:
    value = token_f1(words_of(one), words_of(other))
    assert 0.0 <= value <= 1.0
    assert value == token_f1(words_of(other), words_of(one))
