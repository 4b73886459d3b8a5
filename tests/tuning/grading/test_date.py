"""Dates, as exact as they are named."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.grading import DateGrader
from gate.tuning.grading.date import Day, days_in, the_day
from gate.types import Question

ASKED = Question.from_text("When?")
DAY = "12 March 2020"


@pytest.mark.parametrize(
    "written",
    [
        "2020-03-12",
        "2020/03/12",
        "2020-03-12T10:30:00Z",
        "12.3.2020",
        "12 March 2020",
        "12th of March, 2020",
        "March 12, 2020",
        "Mar. 12th 2020",
        "12-Mar-2020",
        "Thursday, the 12th of March 2020",
        "the twelfth of March, twenty twenty",
        "March twelfth, two thousand twenty",
        "It happened on 12 March 2020, at noon.",
        "(March 12, 2020)",
    ],
)
def test_many_ways_to_write_one_day(written: str) -> None:
    assert the_day(written) == Day(2020, 3, 12)
    assert DateGrader().grade(ASKED, written, (DAY,)).correct is True
    assert DateGrader().grade(ASKED, written, ("13 March 2020",)).correct is False


@pytest.mark.parametrize(
    ("answer", "reference", "correct"),
    [
        ("25/12/2020", "2020-12-25", True),
        ("12/25/2020", "2020-12-25", True),
        ("12-25-2020", "2020-12-25", True),
        ("03/04/2020", "3 April 2020", None),
        ("04-03-2020", "3 April 2020", None),
        ("3/4/20", "3 April 2020", None),
        ("03/03/2020", "3 March 2020", True),
        ("4 July 1776", "1776", True),
        ("20 July 1969", "July 1969", True),
        ("12 March 2020", "March 12", True),
        ("1776", "4 July 1776", None),
        ("July 1969", "20 July 1969", None),
        ("1775", "4 July 1776", False),
        ("June 1969", "20 July 1969", False),
        ("In 1969 the landing was on July 20, 1969", "20 July 1969", True),
        ("between 1914 and 1918", "1914", None),
        ("12 March 2020 or 13 March 2020", DAY, None),
        ("31 February 2020", "2 March 2020", None),
        ("15 March 44 BC", "15 March 2020", None),
        ("15 March 2020", "15 March 44 BC", None),
        ("yesterday", DAY, None),
        ("not 12 March 2020", DAY, None),
        ("It wasn't on 12 March 2020", DAY, None),
        ("the day after 12 March 2020", DAY, None),
        ("before 2020", "2020", None),
        ("12 March 2020", "after 2019", None),
        ("I don't know, perhaps 12 March 2020", DAY, None),
        ("I'm not sure.", DAY, False),
        ("", DAY, False),
        (DAY, "the day before", None),
    ],
)
def test_hard_cases(answer: str, reference: str, correct: bool | None) -> None:
    assert DateGrader().grade(ASKED, answer, (reference,)).correct is correct


def test_a_tolerance_is_in_days_across_months_and_years() -> None:
    grader = DateGrader(days=2)
    assert grader.grade(ASKED, "31 December 2019", ("1 January 2020",)).correct is True
    assert grader.grade(ASKED, "30 December 2019", ("1 January 2020",)).correct is True
    assert grader.grade(ASKED, "29 December 2019", ("1 January 2020",)).correct is False
    assert grader.grade(ASKED, "December 2019", ("1 January 2020",)).correct is None


def test_any_of_the_references_will_do_and_none_leaves_it_open() -> None:
    assert DateGrader().grade(ASKED, DAY, ("unknown day", "1 May 1999", "2020-03-12")).correct is True
    assert DateGrader().grade(ASKED, DAY, ()).correct is None


def test_a_date_that_the_question_names_is_not_the_answer() -> None:
    asked = Question.from_text("The war began in 1914. When did it end?")
    assert DateGrader().grade(asked, "It began in 1914 and ended in 1918.", ("1918",)).correct is True
    assert DateGrader().grade(asked, "In 1914.", ("1918",)).correct is False


@given(st.dates(min_value=datetime.date(1000, 1, 1)), st.dates(min_value=datetime.date(1000, 1, 1)))
def test_days_differ_or_are_the_same_however_they_are_written(one: datetime.date, other: datetime.date) -> None:
    written = f"{one.strftime('%B')} {one.day}, {one.year}"
    assert DateGrader().grade(ASKED, written, (other.isoformat(),)).correct is (one == other)
    assert DateGrader(days=abs((one - other).days)).grade(ASKED, written, (other.isoformat(),)).correct is True


@given(st.text(alphabet="0123456789 -/.,JulyofMarBC", max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    assert isinstance(days_in(text), frozenset | str)
