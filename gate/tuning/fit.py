"""Fit the logistic calibrator: sign-constrained, missing-aware, trained with signals knocked out.

Minimises the mean log-loss plus an L2 penalty on the weights (not on the intercept) by bounded L-BFGS. Weights of
signals are kept at or above zero and those of missing flags at or below, so that p never falls when a signal rises and
does not rise on average when one is lost. Half of the rows are repeated with signals knocked out at random, so that any
subset of signals works at run time.

The penalty, the curve on top and the joint check are chosen on at most 50,000 rows and the weights fitted on at most
200,000, both drawn by whole questions; means, deviations and ranges are those of all rows. The sampling error of a
weight is then below 0.01 standard deviations' worth, less than the difference that the penalty makes, so that more
rows would cost time and change nothing that can be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import SignalWeight, StageWeights
from gate.calibration.probabilities import bend, probabilities, sigmoid
from gate.tuning.ellipsoid import ellipsoid_of
from gate.tuning.recalibration import MORE_THAN, recalibration_of
from gate.tuning.regression import FOLDS, PENALTIES, Rows, covariance_of, log_losses, minimise
from gate.tuning.scales import Standard
from gate.types import SignalVector

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
FEWEST = 20
"""Labelled answers, with both right and wrong ones, without which nothing can be learned."""
_ROWS_TO_CHOOSE_ON, _ROWS_TO_FIT_ON = 50_000, 200_000
_ENOUGH_ALONE = 5_000
"""Labelled answers above which a stage is fitted as if there were no others: they have nothing left to teach it."""
_LEAST_PRIOR = 2.0
"""So many answers' worth is the penalty on the most telling signal at least: a hundred labels can make any weight look
good. On recorded and simulated answers 1 to 3 does best; without it a fit on a hundred is now and then far too sure."""
Bounds = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A signal vector and whether the answer it belongs to was right."""

    vector: SignalVector
    correct: bool
    question: str = ""
    """Answers to the same question are kept together in cross-validation; without one, an answer stands alone."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What signals said of n labelled answers of one stage. Raises ValueError for arrays that do not belong together.

    ``values`` may be float32 or float64. Infinite values and weights that are negative or sum to 0 are refused.
    """

    values: npt.NDArray[np.floating[Any]]
    """[n, k], higher = more likely right, nan = missing."""
    correct: npt.NDArray[Any]
    """[n], 0 or 1."""
    questions: npt.NDArray[np.integer[Any]]
    """[n]: rows with the same number, in any stage, answer the same question and are never parted."""
    weights: npt.NDArray[np.floating[Any]] | None = None
    """[n], how many answers of the traffic each stands for; None: as many as any other."""

    def __post_init__(self) -> None:
        n = len(self.values)
        if self.values.ndim != 2 or self.correct.shape != (n,) or self.questions.shape != (n,):
            shapes = f"{self.values.shape}, {self.correct.shape} and {self.questions.shape}"
            raise ValueError(f"values must be [n, k], correct and questions [n], got {shapes}")
        if not np.issubdtype(self.questions.dtype, np.integer):
            raise ValueError(f"questions must be whole numbers, got {self.questions.dtype}")
        if not np.isin(self.correct, (0, 1)).all():
            raise ValueError("correct must be 0 or 1: leave answers without a label out")
        if any(np.isinf(column).any() for column in self.values.T):
            raise ValueError("a value is infinite: give nan where a signal is missing")
        w = self.weights
        if w is not None and (w.shape != (n,) or not np.isfinite(w).all() or (n and (w.min() < 0 or not w.sum() > 0))):
            raise ValueError("weights must be [n], finite, not negative and not all 0")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Integers | npt.NDArray[np.bool_]) -> Readings:
        weights = None if self.weights is None else self.weights[rows]
        return Readings(self.values[rows], self.correct[rows], self.questions[rows], weights)

    @classmethod
    def of(cls, rows: Sequence[Labelled]) -> Readings:
        """The rows as arrays. Raises ValueError unless all hold the same signals in the same order."""
        names = [reading.signal for reading in rows[0].vector.readings] if rows else []
        if any([reading.signal for reading in row.vector.readings] != names for row in rows):
            raise ValueError("every row must hold the same signals in the same order")
        values = [[np.nan if r.value is None else r.value for r in row.vector.readings] for row in rows]
        numbers: dict[str | int, int] = {}
        questions = [numbers.setdefault(row.question or place, len(numbers)) for place, row in enumerate(rows)]
        return cls(
            np.array(values, dtype=np.float64).reshape(len(rows), len(names)),
            np.array([row.correct for row in rows], dtype=np.float64),
            np.array(questions, dtype=np.int64),
        )


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """A fitted stage, and what is foretold of its own rows by fits that saw no answer to their questions."""

    stage: StageWeights
    unseen: Array
    """p [n]. Of the rows beyond 50,000, and of a stage with too few of its own, it is the stage's own p."""


def fit(
    readings: Readings, names: Sequence[str], bounds: Bounds, *, prior: StageWeights | None = None, seed: int = 0
) -> StageWeights:
    """Fit one stage. ``bounds`` are the signals' ranges, which say on what scale they are weighed (see `Scale.of`).

    The penalty is chosen by 5-fold cross-validated log-loss. Stages of more than 1,000 answers get a curve on top where
    held-out answers call for one (`gate.tuning.recalibration`), those of 100 and more a check of which readings go
    together (`gate.tuning.ellipsoid`). With a ``prior``, its weights (not its curve) are what the fit shrinks to where
    that foretells better than shrinking to nothing; fewer than `FEWEST` answers, or of one kind only, then take the
    prior's weights with an intercept of their own. Without one they raise ValueError: nothing can be learned.
    """
    _check(names, [readings])
    if prior is None:
        _enough([readings])
        return _alone(readings, names, bounds, seed).stage
    if list(prior.signals) != list(names):
        raise ValueError(f"the prior has the signals {list(prior.signals)}, the readings {list(names)}")
    learned = list(prior.signals.values())
    theta = np.array([prior.intercept, *(s.weight for s in learned), *(s.missing for s in learned)])
    fold, shared = _folds([readings], seed)[0], _Shared(theta, (theta,) * FOLDS)
    return _fitted(readings, names, Standard.of_fitted(prior), fold, shared, seed).stage


def cross_fit_stages(
    stages: Mapping[str, Readings], names: Sequence[str], bounds: Bounds, *, seed: int = 0
) -> dict[str, CrossFitted]:
    """Fit several stages that learn from each other, as far as that helps each.

    One fit over all stages, with an intercept for each, is the prior that every stage's weights shrink to; how much,
    cross-validation says for each stage; one of more than 5,000 answers is fitted by itself. Stages of fewer than
    `FEWEST` answers, or of one kind only, take the shared weights with an intercept of their own. Raises ValueError
    when not even all stages together have `FEWEST` answers of both kinds.
    """
    _check(names, list(stages.values()))
    _enough(list(stages.values()))
    alone = {
        key: _alone(readings, names, bounds, seed)
        for key, readings in stages.items()
        if len(stages) == 1 or (len(readings) > _ENOUGH_ALONE and _of_both_kinds(readings))
    }
    if len(alone) == len(stages):
        return alone
    listed = list(stages.values())
    standard = Standard.of(np.vstack([r.values for r in listed]), [bounds[name] for name in names])
    folds = _folds(listed, seed)
    shared = _shared(listed, folds, standard, seed)
    return {
        key: alone[key] if key in alone else _fitted(readings, names, standard, fold, shared, seed)
        for (key, readings), fold in zip(stages.items(), folds, strict=True)
    }


def _alone(readings: Readings, names: Sequence[str], bounds: Bounds, seed: int) -> CrossFitted:
    standard = Standard.of(readings.values, [bounds[name] for name in names])
    return _fitted(readings, names, standard, _folds([readings], seed)[0], None, seed)


def out_of_fold(readings: Readings, names: Sequence[str], bounds: Bounds, *, seed: int = 0) -> Array:
    """p [n], each by a fit that saw no answer to that question. Raises ValueError as `fit` does."""
    _check(names, [readings])
    _enough([readings])
    return _alone(readings, names, bounds, seed).unseen


def _check(names: Sequence[str], stages: Sequence[Readings]) -> None:
    if len(set(names)) != len(names) or any(r.values.shape[1] != len(names) for r in stages):
        shapes = [r.values.shape for r in stages]
        raise ValueError(f"need one column for each of the {len(names)} names, all different, got {shapes}")


def _enough(stages: Sequence[Readings]) -> None:
    n = sum(len(r) for r in stages)
    right = sum(int(r.correct.sum()) for r in stages)
    if n < FEWEST or not 0 < right < n:
        got = f"{right} right and {n - right} wrong"
        raise ValueError(f"need {FEWEST} labelled answers with both right and wrong ones, got {got}")


def _of_both_kinds(readings: Readings) -> bool:
    return bool(0 < readings.correct.sum() < len(readings))


@dataclass(frozen=True, slots=True)
class _Shared:
    """Parameters to shrink to, [1 + 2k] each: those of all rows, and for each fold those that did not see it."""

    whole: Array
    without: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class _Shrinkage:
    """How strongly weights are drawn, and whether to the shared ones or to nothing."""

    penalty: float
    shared: bool

    def ridge(self, rows: Rows) -> Array:
        if not self.shared:
            return self.penalty * rows.reluctance()
        return np.asarray(np.r_[0.0, np.full(2 * rows.scaled.shape[1], self.penalty)])


def _fitted(
    readings: Readings, names: Sequence[str], standard: Standard, fold: Integers, shared: _Shared | None, seed: int
) -> CrossFitted:
    n, k = readings.values.shape
    rng = np.random.default_rng(seed)
    if shared is not None and (n < FEWEST or not _of_both_kinds(readings)):
        rows = _rows(readings, standard)
        theta = shared.whole.copy()
        theta[0] = _own_intercept(rows, theta)
        made = _stage(names, standard, theta, covariance_of(rows, theta, np.ones(1 + 2 * k)), n)
        return CrossFitted(made, probabilities(made, readings.values)[0])
    if shared is not None:
        standard = standard.centred_on(readings.values)
    kept = _drawn(readings.questions, _ROWS_TO_CHOOSE_ON, rng)
    rows, fold = _rows(readings[kept], standard), fold[kept]
    chosen, z = _chosen(rows, fold, shared)
    curve = recalibration_of(z, rows.correct, rows.weights, fold) if len(kept) > MORE_THAN else None
    joint = ellipsoid_of(rows.scaled, fold)
    rows = _rows(readings[_drawn(readings.questions, _ROWS_TO_FIT_ON, rng)], standard)
    ridge = chosen.ridge(rows)
    theta = minimise(rows.with_knock_outs(rng), ridge, k, shared.whole if shared and chosen.shared else None)
    made = _stage(names, standard, theta, covariance_of(rows, theta, rows.weights.sum() * ridge), n)
    made = made.model_copy(update={"recalibration": curve, "joint": joint})
    unseen = probabilities(made, readings.values)[0]
    unseen[kept] = sigmoid(z if curve is None else bend(curve, z))
    return CrossFitted(made, unseen)


def _rows(readings: Readings, standard: Standard) -> Rows:
    """Standardised; weights sum to the number of equally heavy rows that would tell as much (Kish 1965)."""
    n = len(readings)
    weights = np.ones(n) if readings.weights is None else readings.weights.astype(np.float64)
    weights = weights * (weights.sum() / max(float(weights @ weights), 1e-300))
    correct = readings.correct.astype(np.float64)
    return Rows(standard.apply(readings.values), correct, weights, np.zeros(n, dtype=np.intp))


def _shared(stages: Sequence[Readings], folds: Sequence[Integers], standard: Standard, seed: int) -> _Shared:
    """One fit over all stages, each with an intercept of its own and its values measured from its own means."""
    rng, k = np.random.default_rng(seed), len(standard.scales)
    place = np.repeat(np.arange(len(stages)), [len(r) for r in stages])
    questions, fold = np.concatenate([r.questions for r in stages]), np.concatenate(folds)
    kept = _drawn(questions, _ROWS_TO_CHOOSE_ON, rng)
    parts = []
    for number, readings in enumerate(stages):
        own = standard.centred_on(readings.values) if len(readings) >= FEWEST else standard
        parts.append(_rows(readings[kept[place[kept] == number] - int((place < number).sum())], own))
    rows = Rows(
        np.vstack([part.scaled for part in parts]),
        np.concatenate([part.correct for part in parts]),
        np.concatenate([part.weights for part in parts]),
        place[kept],
        len(stages),
    )
    penalty = _chosen(rows, fold[kept], None)[0].penalty

    def fitted(some: Rows) -> Array:
        ridge = penalty * some.reluctance()
        ridge[1 : 1 + len(stages)] = 1 / some.weights.sum()
        theta = minimise(some.with_knock_outs(np.random.default_rng(seed)), ridge, k)
        level = theta[0] + np.bincount(some.groups, some.weights, len(stages)) @ theta[1 : 1 + len(stages)] / (
            some.weights.sum()
        )
        return np.asarray(np.r_[level, theta[1 + len(stages) :]])

    return _Shared(fitted(rows), tuple(fitted(rows[fold[kept] != held]) for held in range(FOLDS)))


def _chosen(rows: Rows, fold: Integers, shared: _Shared | None) -> tuple[_Shrinkage, Array]:
    """By the log-loss of rows held out; with the log-odds [n] that it gave them."""
    n, k = rows.scaled.shape
    ways = [_Shrinkage(penalty, False) for penalty in _penalties(n)]
    if shared is not None:
        ways += [_Shrinkage(penalty, True) for penalty in (100.0, 10.0, *_penalties(n))]
    z = np.zeros((len(ways), n))
    for held in range(FOLDS):
        kept, unseen = rows[fold != held], rows[fold == held].design()
        if not kept.weights.sum() > 0:  # all answers are to one question: nothing foretells them, the dearest it is
            continue
        made, theta = kept.with_knock_outs(np.random.default_rng(held)), None
        for place, way in enumerate(ways):  # each fit begins where the one before it ended
            ridge = way.ridge(kept)
            ridge[1 : 1 + rows.n_groups] = 1 / len(kept.correct)
            centre = shared.without[held] if shared and way.shared else None
            theta = minimise(made, ridge, k, centre, theta)
            z[place, fold == held] = unseen @ theta
    losses = np.array([rows.weights @ log_losses(row, rows.correct) for row in z])
    best = int(losses.argmin())
    return ways[best], z[best]


def _penalties(n: int) -> list[float]:
    """Dearest first; none weaker than so many answers' worth, for a few answers can make any weight look good."""
    return sorted({max(penalty, _LEAST_PRIOR / n) for penalty in PENALTIES}, reverse=True)


def _own_intercept(rows: Rows, theta: Array) -> float:
    """The most likely intercept for these weights under a standard normal prior around the shared one."""
    offset, level = rows.design()[:, 1:] @ theta[1:], float(theta[0])
    reach = float(rows.weights.sum()) + 1.0
    low, high = level - reach, level + reach
    for _ in range(100):  # the slope rises from below zero at low to above it at high
        middle = (low + high) / 2
        slope = rows.weights @ (sigmoid(middle + offset) - rows.correct) + middle - level
        low, high = (low, middle) if slope > 0 else (middle, high)
    return (low + high) / 2


def _stage(names: Sequence[str], standard: Standard, theta: Array, covariance: Array, n: int) -> StageWeights:
    k = len(names)
    return StageWeights(
        intercept=float(theta[0]),
        signals={
            name: SignalWeight(
                transform=standard.scales[i].transform,
                clip=standard.scales[i].clip,
                mean=float(standard.mean[i]),
                scale=float(standard.deviation[i]),
                weight=float(max(0.0, theta[1 + i])),
                missing=float(min(0.0, theta[1 + k + i])),
                low=float(standard.low[i]),
                high=float(standard.high[i]),
            )
            for i, name in enumerate(names)
        },
        covariance=tuple(tuple(float(x) for x in row) for row in covariance),
        n=n,
    )


def _folds(stages: Sequence[Readings], seed: int) -> list[Integers]:
    """A fold for each row of each stage, the same for all answers to one question."""
    questions = np.concatenate([readings.questions for readings in stages])
    distinct, place = np.unique(questions, return_inverse=True)
    fold = (np.random.default_rng(seed).permutation(len(distinct)) % FOLDS)[place]
    return list(np.split(fold, np.cumsum([len(r) for r in stages])[:-1]))


def _drawn(questions: npt.NDArray[np.integer[Any]], most: int, rng: np.random.Generator) -> Integers:
    """About ``most`` rows, by whole questions, in their order; all when there are no more."""
    if len(questions) <= most:
        return np.arange(len(questions))
    _, place, sizes = np.unique(questions, return_inverse=True, return_counts=True)
    order = rng.permutation(len(sizes))
    taken = np.zeros(len(sizes), dtype=np.bool_)
    taken[order[: max(1, int((np.cumsum(sizes[order]) <= most).sum()))]] = True
    return np.flatnonzero(taken[place])
