"""Calibrators for every stage of a policy, each fitted on the questions that come to its stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import LogisticCalibrator, StageWeights
from gate.calibration.probabilities import probabilities
from gate.errors import MissingExtra
from gate.tuning.fit import Readings, fit_stages
from gate.tuning.regression import FOLDS
from gate.tuning.table import Array, Bools, Table

try:
    from threadpoolctl import threadpool_limits
except ModuleNotFoundError as error:
    raise MissingExtra("threadpoolctl", "tune") from error

NOMINAL = 0.9
"""A question that some stage is so sure of goes no further: this says who comes to the stages behind it."""
ENOUGH = 250
"""Fewest questions a stage is fitted on: when fewer come to it, those join that were nearest to coming."""
CROSS_FITTED = 5_000
"""With more questions than this, p of those a calibrator was fitted on is no longer flattered enough to matter."""
Bounds = Mapping[str, tuple[float, float]]
Confidences = Mapping[str, tuple[Array, Bools]]
"""For each stage's key: p, and whether it is out of the calibrator's range. [n] each."""
Fit = Callable[[Table, Bounds, int], dict[str, StageWeights]]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibrator, and what it would say of the questions it was fitted on if it had not seen them."""

    stages: Mapping[str, StageWeights]
    unseen: Confidences

    def calibrator(self, signals: tuple[str, ...], fitted_on: Mapping[str, str]) -> LogisticCalibrator:
        return LogisticCalibrator(signals=signals, stages=dict(self.stages), fitted_on=fitted_on)


def fit_table(table: Table, bounds: Bounds, *, everyone: bool = False, seed: int = 0) -> Fitted:
    """Fit every stage of a table, all rows of which may be learned from.

    Each on the questions that come to it, as a policy needs it, or on ``everyone``, to look at labels. Raises
    ValueError with fewer than 20 labelled answers, or when all are right or all wrong.
    """
    with threadpool_limits(
        1, user_api="blas"
    ):  # on busy cores, threads that wait for each other cost more than they do
        return _cross_fitted(table, _fitted_on_all if everyone else _fitted_on_coming, bounds, seed)


def _cross_fitted(table: Table, fit: Fit, bounds: Bounds, seed: int) -> Fitted:
    stages = fit(table, bounds, seed)
    if len(table) > CROSS_FITTED:
        return Fitted(stages, confidences(stages, table))
    fold = np.random.default_rng(seed).permutation(len(table)) % FOLDS
    unseen = {key: (np.full(len(table), np.nan), np.zeros(len(table), np.bool_)) for key in table.stages}
    for held in range(FOLDS):
        try:
            others = fit(table.where(fold != held), bounds, seed)
        except ValueError:  # one kind of label is so rare that the others have none of it
            others = stages
        for key, (p, strange) in confidences(others, table.where(fold == held)).items():
            unseen[key][0][fold == held], unseen[key][1][fold == held] = p, strange
    return Fitted(stages, unseen)


def confidences(stages: Mapping[str, StageWeights], table: Table) -> Confidences:
    """p of every stage for every row, also where the question was not seen in it."""
    return {key: probabilities(stages[key], column.values) for key, column in table.stages.items()}


def _fitted_on_all(table: Table, bounds: Bounds, seed: int) -> dict[str, StageWeights]:
    return fit_stages(_readings(table, _known(table)), table.signals, bounds, seed=seed)


def _fitted_on_coming(table: Table, bounds: Bounds, seed: int) -> dict[str, StageWeights]:
    """First on all questions, to see who comes where, then each stage on those that come to it.

    A stage that few questions come to sees a population of its own, of hard ones: fitted on all it would be too sure.
    """
    everyone, first = _known(table), _fitted_on_all(table, bounds, seed)
    surest, coming = np.zeros(len(table)), {}
    for key, column in table.stages.items():
        coming[key] = _nearest(everyone[key], surest)
        p, strange = probabilities(first[key], column.values)
        surest = np.maximum(surest, np.where(column.there & column.answerable & ~strange, p, 0.0))
    if all(np.array_equal(coming[key], everyone[key]) for key in everyone):
        return first
    return fit_stages(_readings(table, coming), table.signals, bounds, seed=seed)


def _known(table: Table) -> dict[str, Bools]:
    """Who was seen in each stage and has a label there."""
    return {key: column.there & ~np.isnan(column.correct) for key, column in table.stages.items()}


def _nearest(there: Bools, surest: Array) -> Bools:
    """Of those there, the ones no stage before was sure of, and at least `ENOUGH`."""
    order = np.flatnonzero(there)[np.argsort(surest[there], kind="stable")]
    chosen = np.zeros_like(there)
    chosen[order[: max(ENOUGH, int((surest[order] < NOMINAL).sum()))]] = True
    return chosen


def _readings(table: Table, chosen: Mapping[str, Bools]) -> dict[str, Readings]:
    question: npt.NDArray[np.int64] = np.arange(len(table))
    weighted = bool((table.weights != 1.0).any())
    return {
        key: Readings(
            column.values[chosen[key]],
            column.correct[chosen[key]],
            question[chosen[key]],
            table.weights[chosen[key]] if weighted else None,
        )
        for key, column in table.stages.items()
    }
