"""The way of many questions through a policy at once, from what every stage saw: a quick screen for the search.

It does for columns what `gate.pipeline` does for one question, budgets left aside, and a test holds the two equal.
Nothing is promised by it: the policy the search settles on is certified by running the pipeline itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from gate.rules.threshold import ThresholdRule
from gate.tuning.table import COSTS, Array, Bools, Column, Table
from gate.types import Action, Stage

UNKNOWN, ABSTAINED, ANSWERED = 0, 1, 2
Codes = npt.NDArray[np.int8]
Round = tuple[str, bool]
"""An upstream, and whether it reads passages."""


@dataclass(frozen=True, slots=True)
class Confident:
    """A stage as a rule sees it."""

    column: Column
    p: Array
    """Confidence, [n]."""
    sure: Bools
    """Whether p may be trusted upwards, and there is an answer to let through."""


@dataclass(frozen=True, slots=True)
class Terrain:
    """Where a policy can take a question: its ladder, each rung closed book and with passages, each in tiers."""

    n: int
    rounds: Mapping[Round, tuple[Confident, ...]]
    """The tiers of each."""
    ladder: tuple[str, ...]
    complete: bool
    weights: Array
    """How many questions each stands for."""
    failed: Mapping[str, Bools] = field(default_factory=dict)
    """See `gate.tuning.table.Table`."""

    @classmethod
    def of(
        cls, table: Table, confident: Mapping[str, tuple[Array, Bools]], ladder: Sequence[str], tiers: int
    ) -> Terrain:
        """``confident``: for each stage's key, p and whether it is out of the calibrator's range."""
        rounds = {}
        for upstream in ladder:
            for passages in (False, True):
                keys = [Stage(upstream, passages, tier).key for tier in range(tiers)]
                held = list(takewhile(table.stages.__contains__, keys))
                if held:
                    rounds[upstream, passages] = tuple(_confident(table.stages[key], *confident[key]) for key in held)
        return cls(len(table), rounds, tuple(ladder), table.complete, table.weights, table.failed)

    def unseen(self, stage: Stage) -> Bools:
        """Who might have come to a stage, had the policy of the time sent them there: [n]."""
        failed = self.failed.get(stage.key, np.zeros(self.n, np.bool_))
        return np.full(self.n, not self.complete) & ~failed


def _confident(column: Column, p: Array, strange: Bools) -> Confident:
    declined = column.whole & ~column.answerable
    return Confident(column, np.where(declined, 0.0, p), column.answerable & ~strange)


@dataclass(frozen=True, slots=True)
class Walked:
    """Where n questions ended."""

    end: Codes
    """`ANSWERED`, `ABSTAINED`, or `UNKNOWN`: the table does not hold what would have been needed."""
    correct: Array
    """Of the draft it ended with; nan where not known."""
    p: Array
    costs: Mapping[str, Array]
    stage: npt.NDArray[np.int32]
    """Place of the last stage in ``stages``; -1 where there is none."""
    stages: tuple[str, ...]
    entered: Mapping[Round, Bools]
    """Who came to each round."""

    @property
    def answered(self) -> Bools:
        return np.asarray(self.end == ANSWERED)

    @property
    def unknown(self) -> Bools:
        return np.asarray(self.end == UNKNOWN)


def walk(terrain: Terrain, rule: ThresholdRule) -> Walked:
    """Let every question go its way under a rule."""
    n = terrain.n
    made = _Way(
        np.full(n, UNKNOWN, np.int8),
        np.full(n, np.nan),
        np.full(n, np.nan),
        {c: np.zeros(n) for c in COSTS},
        np.full(n, -1, np.int32),
        np.zeros(n, np.bool_),
    )
    order = [(u, passages) for u in terrain.ladder for passages in (False, True) if (u, passages) in terrain.rounds]
    arriving = {key: np.zeros(n, np.bool_) for key in order}
    first = terrain.ladder[0], False
    if first in arriving:
        arriving[first] |= terrain.rounds[first][0].column.there
    stages: list[str] = []
    for key in order:
        here = arriving[key]
        for tier, place in enumerate(terrain.rounds[key]):
            stages.append(place.column.stage.key)
            here = _step(terrain, rule, key, tier, here, made, arriving, len(stages) - 1)
    return Walked(made.end, made.correct, made.p, made.costs, made.stage, tuple(stages), arriving)


@dataclass(slots=True)
class _Way:
    end: Codes
    correct: Array
    p: Array
    costs: dict[str, Array]
    stage: npt.NDArray[np.int32]
    fruitless: Bools
    """Where retrieving failed: it is not tried again for an upstream further on."""


def _step(
    terrain: Terrain,
    rule: ThresholdRule,
    key: Round,
    tier: int,
    here: Bools,
    made: _Way,
    arriving: Mapping[Round, Bools],
    number: int,
) -> Bools:
    """Decide for the questions that are here; returns those that go on to the next tier."""
    tiers = terrain.rounds[key]
    now, column = tiers[tier], tiers[tier].column
    for name, paid in made.costs.items():
        paid[here] += column.costs[name][here]
    made.stage[here], made.p[here], made.correct[here] = number, now.p[here], column.correct[here]
    threshold = rule.threshold(column.stage)
    answered = here & now.sure & (now.p >= threshold)
    made.end[answered] = ANSWERED
    left = here & ~answered
    going_on = np.zeros_like(here)
    if tier + 1 < len(tiers) and threshold < 1.0:
        wanted = left & column.whole & (now.p >= rule.gather_above)
        further = tiers[tier + 1].column
        going_on = wanted & further.there
        left &= ~(going_on | wanted & terrain.unseen(further.stage))
    for action in rule.otherwise:
        to = opened(terrain.ladder, key, action)
        if to is not None and to in terrain.rounds:
            first = terrain.rounds[to][0].column
            tried = left & ~made.fruitless if action is Action.RETRIEVE else left
            taken = tried & first.there
            arriving[to][taken] = True
            gone = taken | tried & terrain.unseen(first.stage)
            left = left & ~gone
            if action is Action.RETRIEVE:
                made.fruitless |= tried & ~gone
    made.end[left] = ABSTAINED
    return going_on


def opened(ladder: Sequence[str], key: Round, action: Action) -> Round | None:
    """The round that a way leads to from another, or None."""
    upstream, passages = key
    if action is Action.RETRIEVE:
        return None if passages else (upstream, True)
    rung = ladder.index(upstream) + 1
    return (ladder[rung], False) if rung < len(ladder) else None
