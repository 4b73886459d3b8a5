"""Where the marks of a diagram stand, in the units of its drawing; the templates draw, and a table says the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gate.dashboard.quality import BinView, Point, Quality

WIDTH, HEIGHT = 400.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 22.0, 12.0, 42.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A line of the grid: where it stands and what it says."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A point with its interval."""

    x: float
    y: float
    low: float
    high: float
    faint: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """The area between the axes: x from ``left`` to 1, y from ``low`` to ``top``. What lies outside is on its edge."""

    left: float = 0.0
    low: float = 0.0
    top: float = 1.0

    def x(self, share: float) -> float:
        part = (min(1.0, max(self.left, share)) - self.left) / (1 - self.left)
        return round(_LEFT + part * (WIDTH - _LEFT - _RIGHT), 2)

    def y(self, value: float) -> float:
        part = (min(self.top, max(self.low, value)) - self.low) / (self.top - self.low)
        return round(HEIGHT - _BOTTOM - part * (HEIGHT - _TOP - _BOTTOM), 2)

    @property
    def diagonal(self) -> float:
        """From where on x and y can be the same."""
        return max(self.left, self.low)

    @property
    def middle(self) -> tuple[float, float]:
        return self.x((1 + self.left) / 2), self.y((self.top + self.low) / 2)

    @property
    def across(self) -> tuple[Axis, ...]:
        return tuple(Axis(self.x(at), at) for at in _quarters(self.left, 1.0))

    @property
    def up(self) -> tuple[Axis, ...]:
        return tuple(Axis(self.y(at), at) for at in _quarters(self.low, self.top))


@dataclass(frozen=True, slots=True)
class Diagram:
    """A diagram; ``line`` is the path of its curve, ``level`` the height of what is promised."""

    frame: Frame
    marks: tuple[Mark, ...] = ()
    line: str = ""
    level: float | None = None
    width: float = WIDTH
    height: float = HEIGHT


def reliability(bins: Sequence[BinView]) -> Diagram:
    """From 0 on, or from where there is something to see: what was let through is sure, and would fill a corner."""
    left, low = (_start(values) for values in ([b.confidence for b in bins], [b.right.low for b in bins]))
    frame = Frame(left, low)
    marks = tuple(
        Mark(frame.x(b.confidence), frame.y(b.right.value), frame.y(b.right.low), frame.y(b.right.high), b.few)
        for b in bins
    )
    return Diagram(frame, marks)


def risk_coverage(found: Quality, max_error: float) -> Diagram:
    """As high as the promise and what is shown need it to be; a first few unlucky answers may leave it at the top."""
    let_through = found.let_through
    needed = [2 * max_error, *(p.risk for p in found.curve if p.coverage >= 0.1)]
    if let_through is not None:
        needed.append(let_through.high)
    frame = Frame(top=rounded_up(min(1.0, 1.1 * max(needed))))
    marks: tuple[Mark, ...] = ()
    if let_through is not None and found.coverage is not None:
        y, low, high = map(frame.y, (let_through.value, let_through.low, let_through.high))
        marks = (Mark(frame.x(found.coverage), y, low, high, found.few),)
    return Diagram(frame, marks, _steps(frame, found.curve), frame.y(max_error))


def columns(values: Sequence[float]) -> tuple[float, ...]:
    """Heights of columns in percent of the tallest."""
    largest = max(values, default=0.0)
    return tuple(round(100 * value / largest, 2) if largest > 0 else 0.0 for value in values)


def _start(values: Sequence[float]) -> float:
    least = min(values, default=0.0)
    return next(start for start in (0.96, 0.9, 0.8, 0.6, 0.4, 0.2, 0.0) if start <= least)


def _quarters(low: float, high: float) -> tuple[float, ...]:
    return tuple(round(low + i * (high - low) / 4, 10) for i in range(5))


def rounded_up(value: float) -> float:
    """To a number that is easy to quarter: 0.2, 0.4, 0.8, 1 and their tenths."""
    scale = 10.0 ** math.floor(math.log10(value))
    return float(next(step * scale for step in (1.0, 2.0, 4.0, 8.0, 10.0) if step * scale >= value - 1e-12))


def _steps(frame: Frame, curve: Sequence[Point]) -> str:
    return " ".join(f"{'L' if i else 'M'}{frame.x(p.coverage)} {frame.y(p.risk)}" for i, p in enumerate(curve))
