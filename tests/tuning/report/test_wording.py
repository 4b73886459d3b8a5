"""How numbers are said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.estimates import UNKNOWN as NOTHING
from gate.tuning.estimates import Estimate
from gate.tuning.report.wording import (
    at_most,
    count,
    counted,
    interval,
    number,
    number_interval,
    percent,
    promised,
    signed,
    spent,
)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.0384, "3.8 %"),
        (0.5, "50.0 %"),
        (0.0042, "0.42 %"),
        (0.99996, "over 99.99 %"),
        (0.00002, "under 0.01 %"),
        (0.9996, "99.96 %"),
        (None, "not known"),
    ],
)
def test_percent(share: float | None, said: str) -> None:
    assert percent(share).replace("\u00a0", " ") == said


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_only_nothing_is_none_and_only_all_is_all(share: float) -> None:
    assert percent(share).replace("\u00a0", " ") not in {"0 %", "100 %", "0.0 %", "100.0 %", "0.00 %", "100.00 %"}


@given(st.floats(0, 1))
def test_a_limit_is_never_said_to_be_lower_than_it_is(limit: float) -> None:
    said = float(at_most(limit).removesuffix("\u00a0%")) / 100
    assert limit - 1e-9 <= said <= limit + 0.0001 + 1e-9


def test_limits_and_promises() -> None:
    assert at_most(0.04933) == "4.94\u00a0%"
    assert at_most(0.05) == "5\u00a0%"
    assert at_most(1.0) == "100\u00a0%"
    assert at_most(None) == "not known"
    assert [promised(x) for x in (0.05, 0.95, 0.001, 0.07, 0.999)] == [
        f"{x}\u00a0%" for x in ("5", "95", "0.1", "7", "99.9")
    ]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("money", 0.0, "$0"),
        ("money", 0.00012345, "$0.000123"),
        ("money", 0.9, "$0.90"),
        ("money", 12345.678, "$12,345.68"),
        ("seconds", 0.0123, "12.3 ms"),
        ("seconds", 0.0, "0 ms"),
        ("seconds", 2.345, "2.35 s"),
        ("calls", 3.0, "3"),
        ("calls", 3.4, "3.40"),
        ("tokens", 1234.5, "1,234"),
        ("money", None, "not known"),
    ],
)
def test_costs(kind: str, value: float | None, said: str) -> None:
    assert spent(kind, value).replace("\u00a0", " ") == said


@given(st.sampled_from(["money", "seconds", "calls", "tokens"]), st.floats(0, 1e12))
def test_costs_have_no_exponents(kind: str, value: float) -> None:
    assert re.fullmatch(r"\$?[\d,]+(\.\d+)?(\u00a0m?s)?", spent(kind, value))


def test_counts_and_numbers() -> None:
    assert count(1095) == "1,095"
    assert counted(1, "question") == "1\u00a0question"
    assert counted(0, "policy", "policies") == "0\u00a0policies"
    assert number(0.12345) == "0.123"
    assert number(None) == "not known"
    assert [signed(x) for x in (1.234, -0.5, 0.0, -0.001)] == ["+1.23", "\u22120.50", "0", "0"]


def test_intervals() -> None:
    found = Estimate(0.05, 0.0251, 0.1, 100)
    assert interval(found).replace("\u00a0", " ") == "2.5 % to 10.0 %"
    assert number_interval(found) == "0.025 to 0.100"
    assert interval(NOTHING) == number_interval(NOTHING) == "not known"
