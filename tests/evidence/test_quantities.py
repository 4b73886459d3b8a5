"""Quantities and dates: what is read as the same, what stays apart, and what is not read at all."""

from __future__ import annotations

import datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.quantities import Date, Quantity, quantity, same_quantity

SAME = [
    ("1,000", "1000", "one thousand", "a thousand", "1 000", "1'000", "1e3", "10^3", "10³", "１０００", "It is 1,000."),
    ("3.5 km", "3500 m", "3.5km", "3,500 metres", "3½ km", "3 1/2 kilometers", "3,5 km", "350,000 cm", "~3.5 km"),
    ("12 March 2020", "2020-03-12", "March 12, 2020", "12.03.2020",
     "the 12th of March 2020", "Thursday, 12 March 2020", "on Mar. 12 2020", "2020/3/12"),
    ("13/04/2020", "04/13/2020", "13 April 2020"),
    ("50%", "0.5", "50 percent", "1/2", "½", ".5", "50 per cent"),
    ("-5", "\u22125", "minus five", "- 5"),
    ("$5 million", "5 million dollars", "USD 5,000,000", "$5m", "US$5,000,000.00", "five million US dollars"),
    ("100 °C", "212 °F", "373.15 K", "100 ℃", "100 degrees Celsius"),
    ("36 km/h", "10 m/s"),
    ("90 minutes", "1.5 hours", "1 1/2 h", "5400 s"),
    ("3 × 10⁸ m/s", "300,000,000 m/s", "3e8 m/s", "3 x 10^8 metres per second"),
    ("twenty-one", "21", "twenty one"),
    ("105,211", "one hundred and five thousand two hundred and eleven"),
    ("1,002,000", "one million two thousand", "1.002 million"),
    ("12 apples", "twelve apples", "a dozen apples", "about 12 Apples"),
    ("May 5", "5 May", "5th of May"),
    ("5 km²", "5,000,000 m2", "5 square kilometres"),
]  # fmt: skip


@pytest.mark.parametrize("ways", SAME, ids=lambda ways: ways[0])
def test_ways_to_write_the_same(ways: tuple[str, ...]) -> None:
    read = [quantity(way) for way in ways]
    assert read == [read[0]] * len(ways)
    assert read[0] is not None
    assert all(same_quantity(read[0], other) for other in read if other)


def test_no_two_of_these_are_the_same() -> None:
    read = [quantity(ways[0]) for ways in SAME]
    others = [
        quantity(text) for text in ("5", "3.5", "35 km", "3.5 kg", "March 2020", "2020", "5%", "-5%", "5 MB", "5 GB")
    ]
    everything = read + others
    assert None not in everything
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "-", "$", "a", "and", "Lagos", "Apollo 11", "the", "007", "10:30", "3-1", "1.2.3.4", "1.000.000",
        "12,34,567", "1/0", "03/04/2020", "2020-13-01", "31 April 2020", "Feb 30, 2020", "2020-02-30", "99/99/2020",
        "5 feet 10 inches", "12 m 5", "nineteen eighty-four", "twenty twenty", "zero five", "one and two", "hundred",
        "two thousand million", "three point five", "5 is the answer to the question", "1 e5", "$5 apples", "٣",
        "between 5 and 6 kilometres of road", "5\ud800", "\ud800", "5" * 101, "x" * 50_000, "minus",
    ],
    ids=lambda text: ascii(text[:24]),
)  # fmt: skip
def test_what_is_ambiguous_or_more_than_a_quantity_is_not_read(text: str) -> None:
    assert quantity(text) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("$3.50", Quantity(Fraction(7, 2), "usd")),
        ("5k", Quantity(Fraction(5000), "")),
        ("£3bn", Quantity(Fraction(3 * 10**9), "gbp")),
        ("2.5 million people", Quantity(Fraction(2_500_000), "people")),
        ("12 March", Date(None, 3, 12)),
        ("in March 2020", Date(2020, 3, None)),
        ("29 February", Date(None, 2, 29)),
        ("04/04/2020", Date(2020, 4, 4)),
        ("in 1969", Quantity(Fraction(1969), "")),
        ("10^-3", Quantity(Fraction(1, 1000), "")),
    ],
)
def test_what_is_read(text: str, read: Quantity | Date) -> None:
    assert quantity(text) == read


def test_the_tolerance_is_a_share_of_the_larger_and_none_of_a_date() -> None:
    hundred, ninety = Quantity(Fraction(100), "m"), Quantity(Fraction(90), "m")
    assert same_quantity(hundred, ninety, 0.1)
    assert not same_quantity(hundred, ninety, 0.0999)
    assert not same_quantity(hundred, Quantity(Fraction(100), "kg"), 0.9)
    assert same_quantity(Quantity(Fraction(10), ""), Quantity(Fraction(7), ""), 0.3)
    assert not same_quantity(Quantity(Fraction(0), ""), Quantity(Fraction(1), ""), 0.9)
    assert not same_quantity(Date(2020, 3, 12), Date(2020, 3, 13), 0.9)
    assert not same_quantity(Date(2020, 3, 12), Quantity(Fraction(2020), ""), 0.9)


@given(st.text(max_size=30) | st.text(alphabet="0123456789 .,-/%^e$kmx×½² andonetwohundredthousand", max_size=40))
def test_nothing_that_may_be_written_is_too_much(text: str) -> None:
    read = quantity(text)
    assert read is None or same_quantity(read, read)


@given(st.integers(0, 10**15))
def test_every_whole_number_is_read_with_commas_and_without(number: int) -> None:
    assert quantity(f"{number:,}") == quantity(str(number)) == Quantity(Fraction(number), "")


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=3), st.sampled_from(["km", "kg", "hours", "%"]))
def test_every_decimal_is_read_exactly(value: object, unit: str) -> None:
    read, bare = quantity(f"{value} {unit}"), quantity(f"{value}")
    assert isinstance(read, Quantity)
    assert isinstance(bare, Quantity)
    assert bare.value == Fraction(str(value))
    assert read.value in {bare.value * factor for factor in (1000, 1, 3600, Fraction(1, 100))}


@given(st.dates(datetime.date(1000, 1, 1)))
def test_every_date_is_read_in_each_way_it_is_written(day: datetime.date) -> None:
    month, suffix = day.strftime("%B"), "st" if day.day == 1 else "th"
    ways = (
        day.isoformat(),
        f"{day.day} {month} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"{day.day}{suffix} of {month[:3]} {day.year}",
        f"{day.day}.{day.month}.{day.year}",
    )
    assert {quantity(way) for way in ways} == {Date(day.year, day.month, day.day)}
