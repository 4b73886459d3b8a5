"""Learn whether a stage's log-odds should be bent, and how: beta, isotonic or not at all.

Works on cross-fitted log-odds: those of answers that the weights saw are too good to learn from.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gate.calibration.probabilities import bend, sigmoid
from gate.calibration.recalibration import Beta, Isotonic
from gate.errors import MissingExtra
from gate.tuning.regression import log_losses

try:
    from scipy.optimize import isotonic_regression, minimize
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error

Array = npt.NDArray[np.float64]
MORE_THAN = 1000
"""Labelled answers below which a curve learns mostly noise."""
_MOST_KNOTS = 200
_LEAST_SLOPE = 1e-9
_NEAREST = 1e-6
"""How near to 0 or 1 the logistic's p counts in a pool: labels, not it, may say that an answer is certain."""


def recalibration_of(z: Array, correct: Array, weights: Array, fold: npt.NDArray[np.intp]) -> Beta | Isotonic | None:
    """What foretells the labels of held-out folds better than log-odds ``z`` as they are, or None.

    All are [n]; better means by more than one standard error of the mean gain in log-loss.
    """
    if len(np.unique(fold)) < 2:
        return None
    plain = log_losses(z, correct)
    best, most = None, 0.0
    for fitted in (beta_of, isotonic_of):
        bent = np.empty(len(z))
        for held in np.unique(fold):
            kept = fold != held
            bent[~kept] = bend(fitted(z[kept], correct[kept], weights[kept]), z[~kept])
        gain = weights * (plain - log_losses(bent, correct))
        if gain.sum() > max(most, float(np.sqrt(len(z)) * gain.std())):
            best, most = fitted, float(gain.sum())
    return None if best is None else best(z, correct, weights)


def beta_of(z: Array, correct: Array, weights: Array) -> Beta:
    """The most likely beta calibration with a, b not negative, held a little to the identity."""
    columns = np.column_stack([-np.logaddexp(0.0, -z), np.logaddexp(0.0, z), np.ones(len(z))])
    share, identity = weights / weights.sum(), np.array([1.0, 1.0, 0.0])

    def objective(theta: Array) -> tuple[float, Array]:
        bent, off = columns @ theta, theta - identity
        slope = (share * (sigmoid(bent) - correct)) @ columns + off / len(z)
        return float(share @ log_losses(bent, correct) + 0.5 * off @ off / len(z)), slope

    limits = [(_LEAST_SLOPE, None), (0.0, None), (None, None)]
    a, b, c = minimize(objective, identity, jac=True, bounds=limits, method="L-BFGS-B").x
    return Beta(a=float(a), b=float(b), c=float(c))


def isotonic_of(z: Array, correct: Array, weights: Array) -> Isotonic:
    """Pool adjacent violators over at most 200 groups of like log-odds; a knot for each pool that is left.

    Each pool counts one answer more, as likely right as the logistic says: a pool of right answers alone is not
    certain. Pools that this puts out of order are pooled again.
    """
    order = np.argsort(z, kind="stable")
    group = np.arange(len(z)) * _MOST_KNOTS // len(z) if len(z) > _MOST_KNOTS else np.arange(len(z))
    group = np.unique(z[order][np.searchsorted(group, group)], return_inverse=True)[1]  # equal log-odds stay together
    weight, x, y = _means(group, z[order], correct[order], weights[order])
    weight, x, y = _pooled(x, y, weight)
    y = (weight * y + np.clip(sigmoid(x), _NEAREST, 1 - _NEAREST)) / (weight + 1)
    weight, x, y = _pooled(x, y, weight + 1)
    knots = [(float(a), float(b)) for a, b in zip(x, np.log(y) - np.log1p(-y), strict=True)]
    # pools rise, but for the last digit of a mean
    return Isotonic(knots=(knots[0], *(b for a, b in pairwise(knots) if a[0] < b[0] and a[1] < b[1])))


def _means(group: npt.NDArray[np.intp], x: Array, y: Array, weights: Array) -> tuple[Array, Array, Array]:
    total = np.maximum(np.bincount(group, weights), 1e-300)
    return total, np.bincount(group, weights * x) / total, np.bincount(group, weights * y) / total


def _pooled(x: Array, y: Array, weights: Array) -> tuple[Array, Array, Array]:
    blocks = isotonic_regression(y, weights=weights).blocks
    group = np.repeat(np.arange(len(blocks) - 1), np.diff(blocks))
    return _means(group, x, y, weights)
