"""How good the confidence is, from the answers that people checked.

Answers are drawn for checking with known probabilities, so each counts by the inverse of its own: a sum over them then
stands for all that went out (Horvitz and Thompson 1952). An interval of weighted answers is Wilson's for as many as
they are worth, the square of the sum of weights over the sum of squares (Kish 1965).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gate.calibration.arrays import Array
from gate.calibration.calibration_error import expected_calibration_error, reliability_bins
from gate.calibration.metrics import auroc
from gate.calibration.proper_scores import brier
from gate.calibration.vote_share import wilson
from gate.log.kept import Audited

FEW = 100
"""Below so many labels, a share has an interval of ten points to either side: the page says so."""
FEW_WRONG = 10
"""Below so many wrong answers, AUROC says little."""
FEW_IN_BIN = 5
_MOST_POINTS = 240
Counted = Literal["drawn", "all"]


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class BinView:
    """Answers of like confidence: what was stated, and how many were right."""

    confidence: float
    right: Share

    @property
    def few(self) -> bool:
        return self.right.count < FEW_IN_BIN


@dataclass(frozen=True, slots=True)
class Point:
    """Of the surest ``coverage`` of answers, ``risk`` were wrong; ``threshold`` is the least p among them."""

    coverage: float
    risk: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Quality:
    """What the labels tell. A metric that is not defined for them is None."""

    labels: int
    """Counted here; beside them are …"""
    not_drawn: int
    """… labels of answers that were not drawn at random, or not reviewed, and …"""
    without_p: int
    """… of answers that have no confidence."""
    wrong: int
    worth: float
    """How many equal answers the weighted ones are worth."""
    right: Share | None
    """Of all that were checked."""
    let_through: Share | None
    """The wrong ones among those that gate let through, or would have: what is promised."""
    coverage: float | None
    """How much of what was checked gate let through, or would have."""
    bins: tuple[BinView, ...]
    curve: tuple[Point, ...]
    auroc: float | None
    ece: float | None
    brier: float | None
    needed: int
    """Labels without a single error that would be needed to show the promise kept, at its confidence."""

    @property
    def few(self) -> bool:
        return self.labels < FEW

    @property
    def enough(self) -> int:
        return FEW

    @property
    def tabled(self) -> tuple[Point, ...]:
        """Of the curve what a table shows: the first point from each tenth of coverage on."""
        picked = [next((p for p in self.curve if p.coverage >= tenth / 10 - 1e-9), None) for tenth in range(1, 11)]
        return tuple(dict.fromkeys(p for p in picked if p is not None))

    @property
    def few_wrong(self) -> bool:
        return min(self.wrong, self.labels - self.wrong) < FEW_WRONG


def quality(audited: Sequence[Audited], max_error: float, confidence: float, counted: Counted = "drawn") -> Quality:
    """``drawn``: reviews of what was drawn. ``all`` also counts feedback, and labels of what was not drawn at random,
    each of these as one: for where every answer gets a label."""
    with_p = [a for a in audited if a.p is not None]
    not_drawn = sum(not a.audit_counts for a in with_p)
    rows = with_p if counted == "all" else [a for a in with_p if a.audit_counts]
    p = np.array([a.p for a in rows], dtype=np.float64)
    right = np.array([a.correct for a in rows], dtype=np.bool_)
    weight = np.array([1 / a.audit if a.audit else 1.0 for a in rows], dtype=np.float64)
    passed = np.array([a.let_through for a in rows], dtype=np.bool_)
    return Quality(
        labels=len(rows),
        not_drawn=not_drawn,
        without_p=len(audited) - len(with_p),
        wrong=int((~right).sum()),
        worth=_worth(weight),
        right=_share(right, weight),
        let_through=_share(~right[passed], weight[passed]),
        coverage=float(weight[passed].sum() / weight.sum()) if len(rows) else None,
        bins=_bins(p, right, weight),
        curve=risk_coverage(p, right, weight),
        auroc=auroc(p, right, weights=weight) if len(rows) else None,
        ece=expected_calibration_error(p, right, _number_of_bins(len(rows)), equal_mass=True, weights=weight),
        brier=brier(p, right, weights=weight),
        needed=math.ceil(math.log(1 - confidence) / math.log1p(-max_error) - 1e-9),
    )


def risk_coverage(p: Array, right: np.typing.NDArray[np.bool_], weight: Array) -> tuple[Point, ...]:
    """The weighted risk of the surest, for each confidence at which a threshold could stand; ties enter together."""
    if not len(p):
        return ()
    values, group = np.unique(-p, return_inverse=True)
    mass, bad = (np.bincount(group, weights=w, minlength=len(values)) for w in (weight, weight * ~right))
    coverage, risk = np.cumsum(mass) / mass.sum(), np.cumsum(bad) / np.cumsum(mass)
    picked = np.unique(np.linspace(0, len(values) - 1, min(len(values), _MOST_POINTS)).round().astype(np.intp))
    return tuple(Point(float(coverage[i]), float(risk[i]), float(-values[i])) for i in picked)


def _bins(p: Array, right: np.typing.NDArray[np.bool_], weight: Array) -> tuple[BinView, ...]:
    made, start = [], 0
    ordered = weight[np.argsort(p, kind="stable")]
    for found in reliability_bins(p, right, _number_of_bins(len(p)), equal_mass=True, weights=weight):
        worth = _worth(ordered[start : start + found.count])
        start += found.count
        low, high = wilson(found.accuracy, max(1, int(worth + 1e-9)))
        made.append(BinView(found.confidence, Share(found.accuracy, low, high, found.count)))
    return tuple(made)


def _number_of_bins(labels: int) -> int:
    """Of equal mass, for answers that are let through are all sure; a point for twenty, ten points at most."""
    return max(1, min(10, labels // 20))


def _share(counted: np.typing.NDArray[np.bool_], weight: Array) -> Share | None:
    if not len(counted):
        return None
    value = float(weight @ counted / weight.sum())
    return Share(value, *wilson(value, max(1, int(_worth(weight) + 1e-9))), len(counted))


def _worth(weight: Array) -> float:
    return float(weight.sum() ** 2 / (weight**2).sum()) if len(weight) else 0.0
