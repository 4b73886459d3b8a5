"""Dates in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.grading.spoken_dates import in_digits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the fourth of July, seventeen seventy-six", "the 4 of July, 1776"),
        ("March twelfth, twenty twenty", "March 12, 2020"),
        ("the twenty-first of March", "the 21 of March"),
        ("thirty first of May", "31 of May"),
        ("April the First", "April 1"),
        ("nineteen hundred", "1900"),
        ("nineteen oh five", "1905"),
        ("two thousand", "2000"),
        ("two thousand and five", "2005"),
        ("Two Thousand Twenty-Four", "2024"),
        ("ten sixty-six", "1066"),
        ("the first of many", "the first of many"),
        ("twenty apples", "twenty apples"),
        ("a second time", "a second time"),
    ],
)
def test_days_beside_months_and_years(text: str, expected: str) -> None:
    assert in_digits(text) == expected


@given(st.text())
def test_twice_is_once(text: str) -> None:
    assert in_digits(in_digits(text)) == in_digits(text)
