"""How the dashboard says things: numbers with their units, times, and gate's codes in plain words."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from gate.log.kept import Kept, Label

UNKNOWN = "–"
_SPACE = "\u00a0"
"""Keeps a number and its unit on one line."""
ACTIONS = {
    "answer": "Answered",
    "abstain": "Abstained",
    "clarify": "Asked back",
    "retrieve": "Retrieved",
    "escalate": "Escalated",
    "gather": "Gathered more",
    "": "Failed",
}
_WOULD = {"answer": "Would answer", "abstain": "Would abstain", "clarify": "Would ask back"}
REASONS = {
    "confident": "sure enough",
    "uncertain": "not sure enough",
    "ambiguous": "the question can mean several things",
    "budget_spent": "the budget is spent",
    "out_of_distribution": "unlike anything the calibrator has seen",
    "cut_short": "the answer was cut short",
    "certificate_void": "the certificate does not hold for what runs",
    "model_declined": "the model itself declined",
    "calibrator_failed": "the calibrator failed",
    "retrieve_first": "looks things up before it drafts",
}


def percent(share: float | None) -> str:
    """With one decimal, two near the ends: only what is nothing or all is said to be."""
    if share is None:
        return UNKNOWN
    if 0 < share < 0.0001:
        return f"<{_SPACE}0.01{_SPACE}%"
    if 0.9999 < share < 1:
        return f">{_SPACE}99.99{_SPACE}%"
    near = 0 < share < 0.01 or 0.99 < share < 1
    return f"{share * 100:.{2 if near else 0 if share in (0, 1) else 1}f}{_SPACE}%"


def chosen(share: float | None) -> str:
    """A share that somebody chose, without needless zeros: a promise, a threshold."""
    return UNKNOWN if share is None else f"{_plain(share * 100, 6)}{_SPACE}%"


def count(n: float | None) -> str:
    return UNKNOWN if n is None else f"{n:,.0f}"


def short(n: float) -> str:
    """A large count in three digits or so: 12.3 k."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if n >= size:
            scaled = n / (1e3 if unit == "k" else size)
            return f"{scaled:.{0 if scaled >= 100 else 1}f}{_SPACE}{unit}"
    return f"{n:,.0f}"


def counted(n: float, one: str, more: str = "") -> str:
    """``1 label``, ``2 labels``."""
    return f"{n:,.0f}{_SPACE}{one if n == 1 else more or one + 's'}"


def money(dollars: float | None) -> str:
    """US dollars: cents from a dime on, three digits below."""
    if dollars is None:
        return UNKNOWN
    if dollars == 0:
        return "$0"
    return f"${dollars:,.2f}" if dollars >= 0.1 else f"${_plain(dollars, 3)}"


def seconds(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{_plain(value * 1000, 2)}{_SPACE}ms" if value < 1 else f"{_plain(value, 3)}{_SPACE}s"


def number(value: float | None, decimals: int = 3) -> str:
    return UNKNOWN if value is None else f"{value:.{decimals}f}".replace("-", "\u2212")


def value(reading: float | None) -> str:
    """A signal's value, in three digits."""
    if reading is None:
        return UNKNOWN
    small = reading != 0 and not 0.001 <= abs(reading) < 1e6
    return (f"{reading:.2e}" if small else f"{reading:.3f}").replace("-", "\u2212")


def signed(log_odds: float) -> str:
    """A difference with its sign; 0 has none."""
    return f"{log_odds:+.2f}".replace("-", "\u2212") if round(log_odds, 2) else "0"


def moment(at: float) -> str:
    """ISO 8601, for programs."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(at: float, now: float) -> str:
    """The time alone today, the day too before it: UTC."""
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    if then.date() == today.date():
        return then.strftime("%H:%M:%S")
    day = f"{then.day}{_SPACE}{then:%b}"
    return f"{day}{_SPACE}{then:%H:%M}" if then.year == today.year else f"{day}{_SPACE}{then.year}"


def day(midnight: datetime) -> str:
    return f"{midnight.day}{_SPACE}{midnight:%b}"


def in_full(at: float) -> str:
    then = datetime.fromtimestamp(at, UTC)
    return f"{then.day}{_SPACE}{then:%B}{_SPACE}{then:%Y}, {then:%H:%M:%S}{_SPACE}UTC"


def action(name: str) -> str:
    return ACTIONS.get(name, name)


def done(kept: Kept) -> str:
    """What became of a request; where gate only observes, what would have."""
    if kept.mode == "observe" and kept.action:
        return _WOULD.get(kept.action, action(kept.action))
    return action(kept.action)


def reason(code: str | None) -> str:
    """A code in words; one that we do not know as it is, so that new ones show."""
    return REASONS.get(code or "", (code or UNKNOWN).replace("_", " "))


def verdict(label: Label | None) -> str:
    if label is None:
        return "No label"
    return {True: "Right", False: "Wrong", None: "Cannot tell"}[label.correct]


def standing(kept: Kept) -> tuple[str, str]:
    """The state of a decision's label: a word for the stylesheet, and one for people."""
    if kept.label is not None:
        return {True: "right", False: "wrong", None: "unclear"}[kept.label.correct], verdict(kept.label)
    return ("waiting", "To review") if kept.audit is not None else ("none", "No label")


def stage(key: str) -> str:
    """``small/with_passages/tier1`` in words. What is no stage stays as it is."""
    parts = key.split("/")
    memory = parts[-1] == "memory"
    parts = parts[:-1] if memory else parts
    if len(parts) < 3 or not parts[-1].startswith("tier"):
        return key
    read = (
        "from memory, beside passages" if memory else "with passages" if parts[-2] == "with_passages" else "by itself"
    )
    tier = parts[-1].removeprefix("tier")
    return f"{'/'.join(parts[:-2])} {read}" + (f", evidence tier {tier}" if tier != "0" else "")


def one_in(probability: float) -> str:
    """``1 in 20``; the probability itself where it is not one in something."""
    if probability >= 1:
        return "all"
    inverse = 1 / probability
    return f"1 in {inverse:,.0f}" if abs(inverse - round(inverse)) < 0.05 else percent(probability)


def _plain(number: float, digits: int) -> str:
    """Without an exponent and without needless zeros."""
    if number == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(number))))
    said = f"{number:,.{decimals}f}"
    return said.rstrip("0").rstrip(".") if "." in said else said
