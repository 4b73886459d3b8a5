"""Units: what they are worth, and which writing of them counts."""

from __future__ import annotations

from fractions import Fraction

import pytest

from gate.evidence.units import CURRENCIES, KINDS, Unit, unit


@pytest.mark.parametrize(
    ("name", "kind", "worth"),
    [
        ("km", "m", Fraction(1000)),
        ("Miles", "m", Fraction("1609.344")),
        ("%", "", Fraction(1, 100)),
        ("per cent", "", Fraction(1, 100)),
        ("km/h", "m/s", Fraction(1000, 3600)),
        ("acres", "m2", Fraction("1609.344") ** 2 / 640),
        ("sq mi", "m2", Fraction("2589988.110336")),
        ("MiB", "B", Fraction(2**20)),
        ("dollars", "usd", Fraction(1)),
        ("ounces", "kg", Fraction("0.45359237") / 16),
    ],
)
def test_what_a_unit_is_worth(name: str, kind: str, worth: Fraction) -> None:
    assert unit(name) == Unit(kind, worth)


def test_symbols_keep_their_case_and_words_do_not() -> None:
    assert unit("MW") == Unit("W", Fraction(10**6))
    assert unit("mW") is None or unit("mW") != unit("MW")
    assert unit("mb") is None
    assert unit("M") is None
    assert unit("KM") == unit("km")
    assert unit("HOURS") == unit("hours")


def test_degrees_have_a_zero_of_their_own() -> None:
    fahrenheit, kelvin = unit("°F"), unit("K")
    assert fahrenheit is not None
    assert kelvin is not None
    assert (212 - fahrenheit.zero) * fahrenheit.worth == 100
    assert (Fraction("373.15") - kelvin.zero) * kelvin.worth == 100


def test_what_has_no_fixed_length_is_a_kind_of_its_own_or_none() -> None:
    assert unit("months") is None
    assert unit("centuries") == Unit("years", Fraction(100))
    assert unit("apples") is None


def test_every_currency_that_may_stand_in_front_is_known() -> None:
    assert all(unit(name) for name in CURRENCIES)


def test_the_kinds_are_units_that_are_worth_one() -> None:
    assert {"", "m", "°C", "usd"} <= KINDS
    assert {unit(kind) for kind in ("m", "kg", "s", "W")} == {Unit(kind) for kind in ("m", "kg", "s", "W")}
    assert "km" not in KINDS
