"""Amounts in text."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.grading.amounts import Amount, Unclear, amounts_in, names_percent, the_amount


@pytest.mark.parametrize(
    ("text", "kind", "value", "bare"),
    [
        ("5 km", "m", 5000, 5),
        ("5km", "m", 5000, 5),
        ("6,650 km long", "m", 6_650_000, 6650),
        ("$5 million", "usd", 5_000_000, 5_000_000),
        ("23 °F", "°C", -5, 23),
        ("21%", "", Fraction(21, 100), 21),
        ("five minutes", "s", 300, 5),
        ("3.5 million", "", 3_500_000, 3_500_000),
    ],
)
def test_the_number_as_compared_and_as_written(text: str, kind: str, value: Fraction, bare: Fraction) -> None:
    amount = the_amount(text)
    assert amount is not None
    assert (amount.kind, amount.value, amount.bare) == (kind, value, bare)


def test_what_is_counted_is_kept_when_it_is_all_there_is() -> None:
    assert the_amount("206 bones") == Amount(Fraction(206), "", Fraction(206), noun="bones")
    assert the_amount("Paris") is None
    assert the_amount("12 March 2020") is None


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("The Nile is 6,650 km long.", [6650]),
        ("There are 206 bones in the body", [206]),
        ("There are 5 in total", [5]),
        ("It holds (3.5 l).", [Fraction("3.5")]),
        ("On 12 March 2020 it was 5 km", [5]),
        ("There are eight planets.", [8]),
        ("There are twenty-five, I think", [25]),
        ("one of them", []),
        ("two hundred and six, says chapter 3", [206, 3]),
        ("five or six", [5, 6]),
        ("a Boeing 747 weighs 180 t", [747, 180]),
        ("F-16", []),
        ("5 km, that is 5 km", [5]),
        ("Nothing", []),
    ],
)
def test_the_numbers_of_a_sentence(text: str, bare: list[Fraction]) -> None:
    found = amounts_in(text)
    assert isinstance(found, tuple)
    assert [amount.bare for amount in found] == bare


@pytest.mark.parametrize(
    "text",
    [
        "3-4 km",
        "3 to 4",
        "between 3 and 4",
        "more than 5",
        "It is not 5.",
        "It isn't 5",
        "at least $5",
        "up to 5 km",
        "5 or more",
        "5 km and above",
        "It is not exactly 5",
    ],
)
def test_ranges_bounds_and_denials_are_no_one_number(text: str) -> None:
    assert isinstance(amounts_in(text), Unclear)


def test_percentages_are_named() -> None:
    assert all(map(names_percent, ("21 %", "per cent", "What percentage?")))
    assert not names_percent("a share")


@given(st.text(alphabet="0123456789 -/.,%$€kmftoandnot", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    found = amounts_in(text)
    assert isinstance(found, Unclear) or all(isinstance(amount.value, Fraction) for amount in found)
