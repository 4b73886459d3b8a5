"""Numbers, in whatever unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.grading import NumberGrader
from gate.types import Question


@pytest.mark.parametrize(
    ("question", "answer", "reference", "correct"),
    [
        ("", "1000", "1,000", True),
        ("", "1 000", "1000", True),
        ("", "1,001", "1000", False),
        ("", "5 km", "5000 m", True),
        ("", "5 km", "5 miles", False),
        ("", "5 km", "5 kg", None),
        ("", "It is 5 ft.", "1.524 m", True),
        ("", "It was -5 °C", "23 °F", True),
        ("", "5", "-5", False),
        ("", "The answer is 42.", "42", True),
        ("", "five", "5", True),
        ("", "There are eight planets.", "8", True),
        ("", "$5 million", "5,000,000 dollars", True),
        ("", "10^6 people", "1 million", True),
        ("", "206", "206 bones", True),
        ("", "8 planets", "8 moons", None),
        # a unit on one side alone
        ("How many km?", "5", "5 km", True),
        ("How many kilometres is it?", "6", "5 km", False),
        ("How long is it?", "5", "5 km", None),
        ("For how many years?", "5 years", "5", True),
        ("How many square kilometres?", "5", "5 km2", True),
        ("How many are in it?", "5 in", "5", None),
        # percentages
        ("What percentage?", "21%", "21", True),
        ("What is the share?", "21%", "0.21", True),
        ("What is it?", "21%", "21", None),
        ("What percentage?", "22%", "21", False),
        # several
        ("In 1969, how many flew?", "In 1969, 3 astronauts flew.", "3", True),
        ("", "In 1969, 3 astronauts flew.", "3", None),
        ("", "1 h 30 min", "90 minutes", None),
        ("", "In 2020 it was 5 km", "5 km", True),
        # what is no number
        ("", "between 3 and 4", "4", None),
        ("", "more than 5", "5", None),
        ("", "not 5", "5", None),
        ("", "Mount Everest", "8848", None),
        ("", "NaN", "5", None),
        ("", "inf", "5", None),
        ("", "I don't know", "5", False),
        ("", "I don't know, maybe 5", "5", None),
        ("", "I don't know, maybe 6", "5", False),
        ("", "", "5", False),
        ("", "5", "Paris", None),
    ],
)
def test_hard_cases(question: str, answer: str, reference: str, correct: bool | None) -> None:
    assert NumberGrader().grade(Question.from_text(question), answer, (reference,)).correct is correct


def test_tolerances_are_of_the_larger_or_in_the_unit_of_comparison() -> None:
    asked = Question.from_text("How high?")
    assert NumberGrader().grade(asked, "8849 m", ("8848.86 m",)).correct is False
    assert NumberGrader(relative=0.001).grade(asked, "8849 m", ("8848.86 m",)).correct is True
    assert NumberGrader(absolute=0.2).grade(asked, "8849 m", ("8848.86 m",)).correct is True
    assert NumberGrader(absolute=0.2).grade(asked, "8.8492 km", ("8848.86 m",)).correct is False
    assert NumberGrader(relative=0.1).grade(asked, "90", ("100",)).correct is True
    assert NumberGrader(relative=0.1).grade(asked, "89", ("100",)).correct is False


def test_any_of_the_references_will_do_and_none_leaves_it_open() -> None:
    asked = Question.from_text("How many?")
    assert NumberGrader().grade(asked, "5", ("many", "4", "5")).correct is True
    assert NumberGrader().grade(asked, "5", ()).correct is None


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_numbers_are_equal_or_not_however_they_are_written(one: int, other: int) -> None:
    grade = NumberGrader().grade(Question.from_text("How many?"), f"{one:,}", (str(other),))
    assert grade.correct is (one == other)
