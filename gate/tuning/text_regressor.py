"""Fit the text model of APRICOT (Ulmer et al. 2024): how likely an answer is right, from what was asked and said.

Ridge regression on the vectors of question and answer side by side, towards the share right in the question's cluster,
the question's own label, or midway: whichever foretells held-out labels best, with the penalty that does. A logistic
curve of two parameters then makes log-odds of the held-out predictions. For the part without a fold, clusters are seen
and choices made without that fold's labels; only the curve and the base rate are those of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.errors import MissingExtra
from gate.tuning.clusters import smoothed

try:
    from scipy.linalg import cho_factor, cho_solve
    from scipy.optimize import minimize
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
PENALTIES = (0.003, 0.01, 0.03, 0.1)
SMOOTHINGS = (0.0, 0.5, 1.0)
"""How much of the target is the cluster's share; the rest is the question's own label."""
FEWEST = 20


@dataclass(frozen=True, slots=True)
class TextModel:
    """Log-odds are ``x . weights[p] + intercepts[p]``; part 0 saw all rows, part f + 1 all but those of fold f."""

    weights: Array
    """[p, w]."""
    intercepts: Array
    """[p]."""
    penalty: float
    smoothing: float


@dataclass(frozen=True, slots=True)
class _Rows:
    x: Floats
    correct: Array
    clusters: npt.NDArray[np.int32]
    folds: npt.NDArray[np.int8]


def fit(
    x: Floats, correct: Array, clusters: npt.NDArray[np.int32], folds: npt.NDArray[np.int8], parts: int
) -> TextModel:
    """``x`` [n, w], ``correct`` [n] without nan, ``clusters`` [n], ``folds`` [n] in 0 to ``parts`` - 2.

    Raises ValueError with fewer than `FEWEST` rows, or when all labels are the same.
    """
    if len(x) < FEWEST or correct.min() == correct.max():
        raise ValueError(f"need {FEWEST} labelled answers with both right and wrong ones, got {len(x)}")
    mean = x.mean(0)
    scale = max(1e-6, float(np.sqrt(((x - mean) ** 2).sum(1).mean())))
    rows = _Rows(((x - mean) / scale).astype(np.float32), correct, clusters, folds)
    grams = [_gram(rows.x[folds == fold]) for fold in range(parts - 1)]
    whole = np.sum(grams, axis=0)
    solved = [_solve(rows, whole - gram, folds != fold) for fold, gram in enumerate(grams)]
    held = np.empty((len(PENALTIES), len(SMOOTHINGS), len(x)))
    for fold, theta in enumerate(solved):
        held[:, :, folds == fold] = theta[:, :, :-1] @ rows.x[folds == fold].T + theta[:, :, -1:]
    everything = np.ones(len(x), dtype=np.bool_)
    solved = [_solve(rows, whole, everything), *solved]
    judges = [everything, *(folds != fold for fold in range(parts - 1))]
    fitted = [_chosen(theta, held, correct, judge) for theta, judge in zip(solved, judges, strict=True)]
    weights = np.array([theta[:-1] for theta, _ in fitted]) / scale
    intercepts = np.array([theta[-1] for theta, _ in fitted]) - weights @ mean.astype(np.float64)
    return TextModel(weights, intercepts, *fitted[0][1])


def _chosen(
    theta: Array, held: Array, correct: Array, judge: npt.NDArray[np.bool_]
) -> tuple[Array, tuple[float, float]]:
    """The weights and intercept that foretell best, as log-odds, with their penalty and smoothing.

    Judged by the predictions ``held`` [penalties, smoothings, n] of the rows that the part itself may see.
    """
    errors = ((held[:, :, judge] - correct[judge]) ** 2).mean(2)
    place = np.unravel_index(errors.argmin(), errors.shape)
    slope, level = _curve(held[place], correct)
    chosen = slope * theta[place]
    chosen[-1] += level
    return chosen, (PENALTIES[int(place[0])], SMOOTHINGS[int(place[1])])


def _gram(x: Floats) -> Floats:
    return np.asarray(x.T @ x, dtype=np.float32)


def _solve(rows: _Rows, gram: Floats, kept: npt.NDArray[np.bool_]) -> Array:
    """Weights and intercept for each penalty and smoothing, [penalties, smoothings, w + 1], of the rows kept.

    All parts have the level of all rows: were it that of the rows kept, a fold with more right ones than the others
    would be foretold fewer of them.
    """
    x, labels, n = rows.x[kept], rows.correct[kept], int(kept.sum())
    mean = x.mean(0)
    share = smoothed(rows.clusters[kept], labels)
    targets = np.array([s * share + (1 - s) * labels for s in SMOOTHINGS])
    sought = x.T @ (targets - targets.mean(1, keepdims=True)).T.astype(np.float32) / n
    covariance = gram / np.float32(n) - np.outer(mean, mean)
    found = np.empty((len(PENALTIES), len(SMOOTHINGS), x.shape[1] + 1))
    for place, penalty in enumerate(PENALTIES):
        ridged = covariance.copy()
        ridged.flat[:: len(ridged) + 1] += penalty
        found[place, :, :-1] = cho_solve(cho_factor(ridged, overwrite_a=True), sought).T
        found[place, :, -1] = rows.correct.mean() - found[place, :, :-1] @ mean
    return found


def _curve(predicted: Array, correct: Array) -> tuple[float, float]:
    """Slope (not negative) and level of the logistic curve from predictions to labels."""

    def objective(theta: Array) -> tuple[float, Array]:
        z = theta[0] * predicted + theta[1]
        slope = np.exp(-np.logaddexp(0.0, -z)) - correct
        loss = float((np.logaddexp(0.0, z) - correct * z).mean()) + 1e-6 * float(theta @ theta)
        return loss, np.array([(slope * predicted).mean(), slope.mean()]) + 2e-6 * theta

    found = minimize(objective, np.zeros(2), jac=True, bounds=[(0.0, None), (None, None)], method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1])
