"""Fit the logistic calibrator: sign-constrained, missing-aware, trained with signals knocked out.

Minimises the mean log-loss plus an L2 penalty on the weights (not on the intercept) by bounded L-BFGS. Weights of
signals are kept at or above zero and those of missing flags at or below, so that p never falls when a signal rises and
does not rise on average when one is lost. Half of the rows are repeated with signals knocked out at random, so that any
subset of signals works at run time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import SignalWeight, StageWeights
from gate.errors import MissingExtra
from gate.types import SignalVector

try:
    from scipy.optimize import minimize
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error

Array = npt.NDArray[np.float64]
_PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_FOLDS = 5
_KNOCK_OUT = 0.3
"""Chance of each signal to be knocked out in the repeated rows."""
_SMALLEST_CLIP = 1e-7
_LEAST_RELEVANCE = 0.3
"""A signal that tells nothing by itself is penalised about ten times as much as the most telling one, and no more."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A signal vector and whether the answer it belongs to was right."""

    vector: SignalVector
    correct: bool
    question: str = ""
    """Answers to the same question are kept together in cross-validation; without one, an answer stands alone."""


def fit(rows: Sequence[Labelled], bounds: Mapping[str, tuple[float, float]], *, seed: int = 0) -> StageWeights:
    """Fit one stage. ``bounds`` are the signals' ranges, which say on what scale they are weighed (see `Scale.of`).

    The penalty is chosen by 5-fold cross-validated log-loss. Raises ValueError with fewer than 20 rows or when all
    labels are the same: nothing can be learned then.
    """
    labels = np.array([row.correct for row in rows], dtype=np.float64)
    if len(rows) < 20 or labels.min() == labels.max():
        raise ValueError(f"need 20 labelled answers with both right and wrong ones, got {len(rows)}")
    names = [reading.signal for reading in rows[0].vector.readings]
    if any([reading.signal for reading in row.vector.readings] != names for row in rows):
        raise ValueError("every row must hold the same signals in the same order")
    raw = np.array([[np.nan if r.value is None else r.value for r in row.vector.readings] for row in rows])
    scales = [Scale.of(bounds[name], column) for name, column in zip(names, raw.T, strict=True)]
    scaled, mean, scale = _standardize(raw, scales)
    rng = np.random.default_rng(seed)
    penalty = _best_penalty(scaled, labels, _folds([row.question for row in rows], rng))
    ridge = penalty * _reluctance(scaled, labels)
    theta = _minimize(*_knocked_out(scaled, labels, rng), ridge)
    k = len(names)
    design = _design(scaled)
    return StageWeights(
        intercept=float(theta[0]),
        signals={
            name: SignalWeight(
                transform=scales[i].transform,
                clip=scales[i].clip,
                mean=float(mean[i]),
                scale=float(scale[i]),
                weight=float(max(0.0, theta[1 + i])),
                missing=float(min(0.0, theta[1 + k + i])),
                low=_extreme(raw[:, i], np.nanmin),
                high=_extreme(raw[:, i], np.nanmax),
            )
            for i, name in enumerate(names)
        },
        covariance=tuple(tuple(float(x) for x in row) for row in _covariance(design, theta, ridge)),
        n=len(rows),
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """On what scale a signal is weighed, and how near to the ends of its range values are told apart."""

    transform: Literal["identity", "logit", "negative_log"]
    clip: float

    @classmethod
    def of(cls, bounds: tuple[float, float], column: Array) -> Scale:
        """Logit for what lies in [0, 1], minus the log of the distance for what ends at 0, else as it is.

        The clip is half of the distance from the end that only one in a hundred of the values inside undercuts: half
        a vote for a share of votes, and far less for a probability that is known to many digits. A fixed clip would
        make one vote more of five a leap, or call everything above 99.99 % the same.
        """
        values = column[~np.isnan(column)]
        if bounds == (0.0, 1.0):
            return cls("logit", _clip(np.minimum(values, 1.0 - values)))
        if bounds[1] == 0.0 and bounds[0] == -np.inf:
            return cls("negative_log", _clip(-values))
        return cls("identity", 1e-4)

    def apply(self, column: Array) -> Array:
        """`gate.calibration.logistic.transformed` for a column with holes."""
        match self.transform:
            case "logit":
                clipped = np.clip(column, self.clip, 1 - self.clip)
                return np.asarray(np.log(clipped / (1 - clipped)))
            case "negative_log":
                return np.asarray(-np.log(np.maximum(self.clip, -column)))
        return column


def _clip(distances: Array) -> float:
    inside = distances[distances > 0.0]
    if not len(inside):
        return 1e-4
    return float(np.clip(np.quantile(inside, 0.01, method="lower") / 2, _SMALLEST_CLIP, 0.25))


def _extreme(column: Array, of: Any) -> float:
    return 0.0 if np.isnan(column).all() else float(of(column))


def _standardize(raw: Array, scales: Sequence[Scale]) -> tuple[Array, Array, Array]:
    values = np.column_stack([scale.apply(column) for scale, column in zip(scales, raw.T, strict=True)])
    there = ~np.isnan(values)
    count = np.maximum(1, there.sum(0))
    mean = np.where(there, values, 0.0).sum(0) / count
    scale = np.sqrt(np.where(there, (values - mean) ** 2, 0.0).sum(0) / count)
    scale[scale < 1e-9] = 1.0
    return (values - mean) / scale, mean, scale


def _design(scaled: Array) -> Array:
    """Columns: 1, standardised values (0 where missing), missing flags."""
    absent = np.isnan(scaled)
    return np.hstack([np.ones((len(scaled), 1)), np.where(absent, 0.0, scaled), absent.astype(np.float64)])


def _knocked_out(scaled: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Design, labels and row weights: every row as it is, and once more with signals knocked out, half as heavy."""
    holes = np.where(rng.random(scaled.shape) < _KNOCK_OUT, np.nan, scaled)
    design = np.vstack([_design(scaled), _design(holes)])
    weights = np.concatenate([np.full(len(labels), 2 / 3), np.full(len(labels), 1 / 3)])
    return design, np.concatenate([labels, labels]), weights


def _reluctance(scaled: Array, labels: Array) -> Array:
    """How much dearer than the most telling signal's each weight is: 0 for the intercept, [1 + 2k].

    1 / r^2 for a signal whose correlation with the label is r times the strongest (an adaptive ridge; Zou 2006 has the
    idea for the lasso). With a hundred signals and few errors, most of what correlates does so by chance.
    """
    there = np.where(np.isnan(scaled), 0.0, scaled)  # standardised: the mean is 0
    told = np.asarray(np.maximum(0.0, there.T @ (labels - labels.mean())))
    relevance = np.clip(told / max(told.max(initial=0.0), 1e-9), _LEAST_RELEVANCE, 1.0)
    return np.asarray(np.r_[0.0, relevance**-2.0, np.ones(len(relevance))])


def _minimize(design: Array, labels: Array, weights: Array, ridge: Array, start: Array | None = None) -> Array:
    k = (design.shape[1] - 1) // 2
    share = weights / weights.sum()

    def objective(theta: Array) -> tuple[float, Array]:
        z = design @ theta
        over = np.logaddexp(0.0, z)
        loss = share @ (over - labels * z) + 0.5 * ridge @ theta**2
        slope = (share * (np.exp(z - over) - labels)) @ design + ridge * theta
        return float(loss), slope

    limits = [(None, None), *[(0.0, None)] * k, *[(None, 0.0)] * k]
    begin = np.zeros(1 + 2 * k) if start is None else start
    found = minimize(objective, begin, jac=True, bounds=limits, method="L-BFGS-B")
    return np.asarray(found.x, dtype=np.float64)


def _folds(questions: Sequence[str], rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """A fold for each row, the same for all answers to one question."""
    keys = [question or place for place, question in enumerate(questions)]
    order = {key: int(place) for place, key in zip(rng.permutation(len(set(keys))), dict.fromkeys(keys), strict=True)}
    return np.array([order[key] % _FOLDS for key in keys])


def _best_penalty(scaled: Array, labels: Array, fold: npt.NDArray[np.intp]) -> float:
    losses = dict.fromkeys(_PENALTIES, 0.0)
    for held in range(_FOLDS):
        kept = fold != held
        made = _knocked_out(scaled[kept], labels[kept], np.random.default_rng(held))
        unseen, theta = _design(scaled[~kept]), None
        reluctance = _reluctance(scaled[kept], labels[kept])
        for penalty in sorted(_PENALTIES, reverse=True):  # each fit begins where the one before it ended
            theta = _minimize(*made, penalty * reluctance, theta)
            z = unseen @ theta
            losses[penalty] += float((np.logaddexp(0.0, z) - labels[~kept] * z).sum())
    return min(losses, key=losses.__getitem__)


def _covariance(design: Array, theta: Array, ridge: Array) -> Array:
    """Inverse Hessian of the penalised log-likelihood at the fit (Laplace approximation)."""
    p = _sigmoid(design @ theta)
    curvature = design.T @ (design * (p * (1 - p))[:, None])
    return np.asarray(np.linalg.inv(curvature + len(design) * np.diag(np.maximum(ridge, 1e-9))))


def _sigmoid(z: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -z))
