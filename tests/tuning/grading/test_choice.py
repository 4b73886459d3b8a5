"""Letters picked."""

from __future__ import annotations

import pytest

from gate.tuning.grading import ChoiceGrader
from gate.tuning.grading.choice import options_in
from gate.types import Question

LISTED = Question.from_text("Which is the seat?\nA) Lagos\nB) Paris\nC. The Hague\n(D) none of these")
OPEN = Question.from_text("Which is the seat, A, B or C?")


def test_the_options_a_question_lists() -> None:
    assert options_in(LISTED.text) == {"A": "lagos", "B": "paris", "C": "hague", "D": "none of these"}
    assert options_in("A) one\nA) two") == {}
    assert options_in("A) a single one") == {}
    assert options_in("no options") == {}


@pytest.mark.parametrize(
    ("answer", "references", "correct"),
    [
        ("B", ("B",), True),
        ("(b)", ("B",), True),
        ("**B**", ("b.",), True),
        ("Ｂ", ("B",), True),
        ("B) Paris", ("B",), True),
        ("B. Paris is the one.", ("B) Paris",), True),
        ("The answer is B.", ("B",), True),
        ("the correct answer is (B), as the others are not", ("B",), True),
        ("Answer: B", ("B",), True),
        ("Option C is correct", ("C",), True),
        ("Paris", ("B",), True),
        ("the hague", ("C",), True),
        ("B", ("Paris",), True),
        ("A", ("B", "A"), True),
        ("A", ("B",), False),
        ("Lagos", ("B",), False),
        ("A or B", ("B",), None),
        ("The answer is A or B", ("B",), None),
        ("The answer is A, no, the answer is B", ("B",), None),
        ("B) or C)", ("B",), None),
        ("E", ("B",), None),
        ("The correct answer is a city", ("A",), None),
        ("The answer is A city", ("A",), None),
        ("A dog", ("A",), None),
        ("It is not B", ("B",), None),
        ("The answer is not B", ("B",), None),
        ("I don't know", ("B",), False),
        ("", ("B",), False),
        ("B", (), None),
        ("B", ("Rome",), None),
    ],
)
def test_hard_cases(answer: str, references: tuple[str, ...], correct: bool | None) -> None:
    assert ChoiceGrader().grade(LISTED, answer, references).correct is correct


def test_without_listed_options_letters_alone_are_read() -> None:
    assert ChoiceGrader().grade(OPEN, "C", ("C",)).correct is True
    assert ChoiceGrader().grade(OPEN, "The Hague", ("C",)).correct is None
