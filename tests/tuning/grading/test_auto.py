"""The grader that is sure of what it says."""

from __future__ import annotations

import pytest

from gate.tuning.grading import AutoGrader
from gate.types import Question


@pytest.mark.parametrize(
    ("question", "answer", "references", "correct"),
    [
        ("", "the paris", ("Paris",), True),
        ("", "The Who", ("who",), True),
        ("", "Obama", ("Barack Obama", "Obama"), True),
        ("What is the capital of France?", "The capital of France is Paris.", ("Paris",), True),
        ("", "President Barack Obama", ("Barack Obama",), True),
        ("", "Lyon", ("Paris",), False),
        ("", "not Paris", ("Paris",), False),
        ("", "I don't know.", ("Paris",), False),
        ("", "I'm sorry, but I can't answer that.", ("Paris",), False),
        ("", "Paris. I don't know how many live there.", ("Paris",), None),
        ("", "It is 5 km. I don't know its width.", ("5 km",), None),
        ("", "", ("Paris",), False),
        ("", "N/A", ("unknown", "n/a"), True),
        ("Which element?", "Na", ("Na",), True),
        ("Which element?", "N/A", ("Na",), None),
        ("", "Paris", (), None),
        # words that do not settle it
        ("", "Paris and Lyon", ("Paris",), None),
        ("", "Paris or Lyon", ("Paris",), None),
        ("", "Barack Obama or Biden", ("Barack Obama",), None),
        ("", "World War I and II", ("World War I",), None),
        ("", "George Bush", ("George Washington",), None),
        ("", "Malaga", ("Málaga",), None),
        ("", "Sao Paulo", ("São Paulo",), None),
        ("", "Париж", ("Paris",), None),
        # yes and no
        ("Is it?", "Yes, it is.", ("yes",), True),
        ("Is it?", "No", ("yes",), False),
        ("Is it?", "Yes and no", ("yes",), None),
        # numbers and dates
        ("", "1,000", ("1000",), True),
        ("", "5 km", ("5000 m",), True),
        ("", "5 km", ("5 miles",), False),
        ("", "5", ("5 km",), None),
        ("", "4 July 1776", ("July 4th, 1776",), True),
        ("", "5 July 1776", ("July 4th, 1776",), False),
        ("", "03/04/2020", ("3 April 2020",), None),
        ("", "206 bones", ("206",), True),
        ("", "two hundred and six, says chapter 3", ("206",), None),
        ("", "It ended on 2 September 1945.", ("1945",), True),
        ("", "It ended on 2 September 1946.", ("1945",), None),
        ("", "12 Monkeys", ("12 Angry Men",), None),
        ("", "Seven Samurai (1954)", ("Seven Samurai",), True),
        ("", "Seven Brides", ("Seven Samurai",), None),
    ],
)
def test_hard_cases(question: str, answer: str, references: tuple[str, ...], correct: bool | None) -> None:
    assert AutoGrader().grade(Question.from_text(question), answer, references).correct is correct


def test_the_thresholds_are_options() -> None:
    asked = Question.from_text("Who?")
    assert AutoGrader(threshold=0.6).grade(asked, "Barack Obama", ("Obama",)).correct is True
    assert AutoGrader(relative=0.01).grade(asked, "8849 m", ("8848.86 m",)).correct is True
