"""Numbers with their uncertainty: shares of questions, means, and what weights do to both.

Rows of unequal weight are counted by the ratio of weighted sums (Hájek 1971). Their interval is that of Clopper and
Pearson with the number of rows that would be as telling if all weighed the same: the smaller of Kish's (1965) count and
the one that the variance of the ratio implies (Korn and Graubard 1998). It is exact only where all weights are equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.guarantees.selective_risk import upper_bound

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, the limits of its two-sided interval, and how many rows it is of. None: there is no such number."""

    value: float | None
    low: float | None
    high: float | None
    n: int


UNKNOWN = Estimate(None, None, None, 0)


def share(counted: Mask, weights: Array, confidence: float) -> Estimate:
    """How large a part of the rows is ``counted``, with its Clopper-Pearson interval."""
    value = mean(counted.astype(np.float64), weights)
    if value is None:
        return UNKNOWN
    n, tail = _effective(counted, weights, value), (1 - confidence) / 2
    low = 1 - upper_bound(n - math.floor(value * n + 1e-9), n, tail)
    return Estimate(value, min(low, value), max(_upper(value, n, tail), value), len(counted))


def bound(counted: Mask, weights: Array, confidence: float) -> float | None:
    """One-sided upper limit on the same share."""
    value = mean(counted.astype(np.float64), weights)
    if value is None:
        return None
    return max(_upper(value, _effective(counted, weights, value), 1 - confidence), value)


def mean(values: Array, weights: Array) -> float | None:
    """Of the rows whose value is known; None where nothing is."""
    known = ~np.isnan(values)
    total = weights[known].sum()
    return float((values[known] * weights[known]).sum() / total) if total > 0 else None


def quantile(values: Array, weights: Array, q: float) -> float | None:
    """The least value that at least the share ``q`` of the rows does not exceed."""
    known = ~np.isnan(values) & (weights > 0)
    if not known.any():
        return None
    order = np.argsort(values[known], kind="stable")
    reached = np.cumsum(weights[known][order])
    place = int(np.searchsorted(reached, q * reached[-1] * (1 - 1e-12)))
    return float(values[known][order][min(place, len(order) - 1)])


def _upper(value: float, n: int, tail: float) -> float:
    return upper_bound(min(n, math.ceil(value * n - 1e-9)), n, tail)


def _effective(counted: Mask, weights: Array, value: float) -> int:
    """As how many rows of equal weight these are as telling; rounded down, and n itself where weights are equal."""
    used = weights[weights > 0]
    if used.min() == used.max():
        return len(used)
    each = weights / used.max()  # their squares stay numbers, however small the weights
    kish = each.sum() ** 2 / (each**2).sum()
    variance = (each**2 * (counted - value) ** 2).sum() / each.sum() ** 2
    implied = value * (1 - value) / variance if variance > 0 else kish
    return max(1, math.floor(min(float(kish), float(implied))))
