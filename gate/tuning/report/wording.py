"""How numbers are said: never nan, never more certain than they are."""

from __future__ import annotations

import math

from gate.tuning.estimates import Estimate

UNKNOWN = "not known"
_SPACE = "\u00a0"
"""Keeps a number and its unit on one line."""


def count(n: int) -> str:
    return f"{n:,}"


def counted(n: int, one: str, more: str = "") -> str:
    """``1 question``, ``2 questions``."""
    return f"{n:,}{_SPACE}{one if n == 1 else more or one + 's'}"


def percent(share: float | None) -> str:
    """With one decimal, and two near the ends: only what is nothing or all is said to be."""
    if share is None:
        return UNKNOWN
    hundredths = share * 100
    if 0 < share < 0.0001:
        return f"under{_SPACE}0.01{_SPACE}%"
    if 0.9999 < share < 1:
        return f"over{_SPACE}99.99{_SPACE}%"
    near = 0 < share < 0.01 or 0.99 < share < 1
    return f"{hundredths:.{2 if near else 0 if share in (0, 1) else 1}f}{_SPACE}%"


def at_most(share: float | None) -> str:
    """An upper limit, rounded upwards: what is said still holds."""
    if share is None:
        return UNKNOWN
    return f"{_plain(math.ceil(share * 10_000 - 1e-6) / 100)}{_SPACE}%"


def promised(share: float) -> str:
    """A share that somebody chose, as they wrote it."""
    return f"{_plain(share * 100)}{_SPACE}%"


def interval(found: Estimate) -> str:
    """The limits alone."""
    return UNKNOWN if found.low is None or found.high is None else f"{percent(found.low)} to {percent(found.high)}"


def number(value: float | None, decimals: int = 3) -> str:
    return UNKNOWN if value is None else f"{value:.{decimals}f}"


def number_interval(found: Estimate, decimals: int = 3) -> str:
    if found.low is None or found.high is None:
        return UNKNOWN
    return f"{found.low:.{decimals}f} to {found.high:.{decimals}f}"


def signed(value: float) -> str:
    """A difference, with its sign; 0 has none."""
    return f"{value:+.2f}".replace("-", "\u2212") if round(value, 2) else "0"


def spent(kind: str, value: float | None) -> str:
    """A cost for one question in its own unit: calls and tokens plain, seconds, US dollars."""
    if value is None:
        return UNKNOWN
    match kind:
        case "money":
            return "$0" if value == 0 else f"${value:,.2f}" if value >= 0.1 else f"${_plain(value, 3)}"
        case "seconds":
            return f"{_plain(value * 1000, 3)}{_SPACE}ms" if value < 1 else f"{_plain(value, 3)}{_SPACE}s"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _plain(value: float, digits: int = 10) -> str:
    """Without an exponent and without needless zeros."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    said = f"{value:,.{decimals}f}"
    return said.rstrip("0").rstrip(".") if "." in said else said
