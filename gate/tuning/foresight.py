"""Learn what can be foretold of the ways on: how likely the answer is right that each would bring.

For every stage and every way on from it, one logistic regression on the signals read there, with the label of the
answer that the way brought: fitted on the questions that come to the stage, on which every way was gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from gate.calibration.logistic import StageWeights
from gate.calibration.probabilities import probabilities
from gate.tuning.fit import FEWEST, Readings, cross_fit_stages
from gate.tuning.fitting import Bounds, Fitted
from gate.tuning.table import Array, Bools, Column, Table
from gate.types import Action

_APART = ">"


@dataclass(frozen=True, slots=True)
class Foresight:
    """By a stage's key and the name of a way (see `Ways`)."""

    models: Mapping[str, Mapping[str, StageWeights]] = field(default_factory=dict)
    unseen: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    """How likely each way succeeds, [n], by models that had not seen the question."""

    def where(self, rows: Bools | np.ndarray[tuple[int], np.dtype[np.intp]]) -> Foresight:
        return Foresight(
            self.models, {key: {way: p[rows] for way, p in ways.items()} for key, ways in self.unseen.items()}
        )


def foresee(table: Table, fitted: Fitted, bounds: Bounds) -> Foresight:
    """Of every way on from every stage of a table. Ways of which too little is known are left out."""
    readings, rows = {}, {}
    for column in table.stages.values():
        for name, first in ways_on(table, column):
            come = fitted.coming[column.stage.key]
            known = come & first.there & ~np.isnan(first.correct)
            if table.complete:  # a way that led nowhere brought no right answer
                known |= come & ~first.there
            right = np.where(first.there & first.answerable, np.nan_to_num(first.correct), 0.0)
            if int(known.sum()) >= FEWEST:
                key = f"{column.stage.key}{_APART}{name}"
                rows[key] = known
                weights = table.weights[known] if (table.weights != 1.0).any() else None
                readings[key] = Readings(column.values[known], right[known], np.flatnonzero(known), weights)
    if not readings:
        return Foresight()
    try:
        made = cross_fit_stages(readings, table.signals, bounds)
    except ValueError:  # of one kind only: there is nothing to tell apart
        return Foresight()
    models: dict[str, dict[str, StageWeights]] = {}
    unseen: dict[str, dict[str, Array]] = {}
    for key, each in made.items():
        stage, name = key.split(_APART)
        p = probabilities(each.stage, table.stages[stage].values)[0]
        p[rows[key]] = each.unseen
        models.setdefault(stage, {})[name] = each.stage
        unseen.setdefault(stage, {})[name] = p
    return Foresight(models, unseen)


def ways_on(table: Table, column: Column) -> Iterator[tuple[str, Column]]:
    """The ways that lead to another draft, by name, and the stage each leads to."""
    here = column.stage
    if here.memory:
        return
    firsts = [other for other in table.stages.values() if other.stage.tier == 0 and not other.stage.memory]
    ladder = list(dict.fromkeys(other.stage.upstream for other in firsts))
    for other in firsts:
        to = other.stage
        if to.upstream == here.upstream and to.passages and not here.passages:
            yield Action.RETRIEVE.value, other
        elif ladder.index(to.upstream) > ladder.index(here.upstream) and not to.passages:
            yield f"{Action.ESCALATE}:{to.upstream}", other
