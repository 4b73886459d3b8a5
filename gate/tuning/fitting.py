"""Calibrators for every stage of a policy, each fitted on the questions that come to its stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import LogisticCalibrator, StageWeights
from gate.calibration.probabilities import probabilities
from gate.errors import MissingExtra
from gate.tuning.fit import FEWEST, Readings, cross_fit_stages
from gate.tuning.table import Array, Bools, Table

try:
    from threadpoolctl import threadpool_limits
except ModuleNotFoundError as error:
    raise MissingExtra("threadpoolctl", "tune") from error

NOMINAL = 0.9
"""A question that some stage is so sure of goes no further: this says who comes to the stages behind it."""
ENOUGH = 250
"""Fewest questions a stage is fitted on: when fewer come to it, those join that were nearest to coming."""
Bounds = Mapping[str, tuple[float, float]]
Confidences = dict[str, tuple[Array, Bools]]
"""For each stage's key: p, and whether it is out of the calibrator's range. [n] each."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibrator, and what it would say of the questions it was fitted on if it had not seen them."""

    stages: Mapping[str, StageWeights]
    unseen: Confidences
    coming: Mapping[str, Bools]
    """By stage, the questions that it was fitted on, [n]: those that come to it."""

    def calibrator(self, signals: tuple[str, ...], fitted_on: Mapping[str, str]) -> LogisticCalibrator:
        return LogisticCalibrator(signals=signals, stages=dict(self.stages), fitted_on=fitted_on)


def fit_table(table: Table, bounds: Bounds, *, everyone: bool = False, seed: int = 0) -> Fitted:
    """Fit every stage of a table, all rows of which may be learned from.

    Each on the questions that come to it, as a policy needs it, or on ``everyone``, to look at labels. Raises
    ValueError with fewer than 20 questions, or when all labelled answers are right or all wrong.
    """
    if len(table) < FEWEST:
        raise ValueError(f"at least {FEWEST} questions are needed")
    # on busy cores, threads that wait for each other cost more than they do
    with threadpool_limits(1, user_api="blas"):
        chosen = _known(table)
        made = cross_fit_stages(_readings(table, chosen), table.signals, bounds, seed=seed)
        if not everyone:
            coming = _coming(table, {key: each.stage for key, each in made.items()})
            if any((coming[key] != chosen[key]).any() for key in chosen):
                made = cross_fit_stages(_readings(table, coming), table.signals, bounds, seed=seed)
                chosen = coming
    stages = {key: each.stage for key, each in made.items()}
    unseen = confidences(stages, table)
    for key, each in made.items():
        unseen[key][0][chosen[key]] = each.unseen
    return Fitted(stages, unseen, chosen)


def confidences(stages: Mapping[str, StageWeights], table: Table) -> Confidences:
    """p of every stage for every row, also where the question was not seen in it."""
    return {key: probabilities(stages[key], column.values) for key, column in table.stages.items()}


def _coming(table: Table, first: Mapping[str, StageWeights]) -> dict[str, Bools]:
    """Who comes to each stage, by a ``first`` fit on everyone.

    A stage that few questions come to sees a population of its own, of hard ones: fitted on all it would be too sure.
    """
    everyone, surest, coming = _known(table), np.zeros(len(table)), {}
    after = surest
    for key, column in table.stages.items():
        if not column.stage.memory:  # it is on trial together with the draft beside it
            surest = after
        coming[key] = _nearest(everyone[key], surest)
        p, strange = probabilities(first[key], column.values)
        after = np.maximum(after, np.where(column.there & column.answerable & ~strange, p, 0.0))
    return coming


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
