"""From the average question to this one: what each signal added to the log-odds, drawn as bars that follow each other.

Places are percent of the width, so a bar is as wide as its table cell and needs no text of its own: the cells beside it
say what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_SMALL = 0.02
"""What adds less than this, in log-odds, is put together: half a point of probability at most."""
_ROOM = 0.35
"""Left free at both ends, in log-odds."""
_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_FARTHEST = 7.0
"""Log-odds beyond which a threshold is not drawn: p above 99.9 %, and none that is never or always met."""
Kind = Literal["base", "up", "down", "rest", "end"]


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: a signal and what it added, or where it all begins and ends."""

    name: str
    added: float
    """Log-odds; of the first and the last row the log-odds there."""
    kind: Kind
    left: float
    width: float
    to: float
    """Where the bar ends, which is not always at its right."""


@dataclass(frozen=True, slots=True)
class Tick:
    p: float
    at: float


@dataclass(frozen=True, slots=True)
class Waterfall:
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    threshold: float | None
    """Its place; None where it cannot be drawn."""
    recalibrated: bool
    """Whether p is not what the contributions come to: the calibrator put a last step on top."""


def waterfall(base: float, contributions: Mapping[str, float], p: float, threshold: float | None) -> Waterfall:
    """The largest contributions first, the small ones put together."""
    large = {name: added for name, added in contributions.items() if abs(added) >= _SMALL}
    small = [added for name, added in contributions.items() if name not in large]
    ordered: list[tuple[str, float, Kind]] = [
        (name, added, "up" if added > 0 else "down")
        for name, added in sorted(large.items(), key=lambda pair: (-abs(pair[1]), pair[0]))
    ]
    if small:
        ordered.append((f"{len(small)} more", sum(small), "rest"))
    reached = [base]
    for _, added, _ in ordered:
        reached.append(reached[-1] + added)
    end = log_odds(p)
    line = None if threshold is None or not 0 < threshold < 1 else log_odds(threshold)
    shown_line = line if line is not None and abs(line) <= _FARTHEST else None
    spots = [0.0, *reached, end, *([] if shown_line is None else [shown_line])]
    low, high = min(spots) - _ROOM, max(spots) + _ROOM

    def at(value: float) -> float:
        return round(100 * (value - low) / (high - low), 3)

    def bar(name: str, added: float, kind: Kind, start: float, to: float) -> Bar:
        left, right = sorted((at(start), at(to)))
        return Bar(name, added, kind, left, round(right - left, 3), at(to))

    steps = [bar(name, added, kind, a, a + added) for (name, added, kind), a in zip(ordered, reached, strict=False)]
    bars = (bar("", base, "base", 0.0, base), *steps, bar("", end, "end", 0.0, end))
    ticks = tuple(Tick(tick, at(log_odds(tick))) for tick in _TICKS if low <= log_odds(tick) <= high)
    moved = abs(end - reached[-1]) > 0.02 and abs(_p(reached[-1]) - p) > 0.002
    return Waterfall(bars, _apart(ticks), None if shown_line is None else at(shown_line), moved)


def log_odds(p: float) -> float:
    inside = min(1 - 1e-6, max(1e-6, p))
    return math.log(inside / (1 - inside))


def _p(value: float) -> float:
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, value))))


def _apart(ticks: tuple[Tick, ...], least: float = 11.0) -> tuple[Tick, ...]:
    """Those whose labels do not run into each other, one half always among them."""
    kept: list[Tick] = []
    for tick in sorted(ticks, key=lambda t: (abs(t.p - 0.5), t.p)):
        if all(abs(tick.at - other.at) >= least for other in kept) and 4 <= tick.at <= 96:
            kept.append(tick)
    return tuple(sorted(kept, key=lambda t: t.at))
