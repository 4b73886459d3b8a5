"""The way of many questions through a policy at once, from what every stage saw: a quick screen for the search.

It does for columns what `gate.pipeline` does for one question, and a test holds the two equal; budgets, and questions
that are asked back or begin with a search for some alone, are left aside.
Nothing is promised by it: the policy the search settles on is certified by running the pipeline itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import StageWeights, Ways, way_of
from gate.calibration.probabilities import probabilities
from gate.rules import ExpectedCostRule, Thresholds
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
    of_draft: Array | None = None
    """p of the draft, where another answer may be on trial: it is what more evidence is foretold by."""

    @property
    def foretelling(self) -> Array:
        return self.p if self.of_draft is None else self.of_draft


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
    passages_first: bool = False
    """Whether a search comes before the first draft; where it finds nothing it begins with a closed book."""
    ahead: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    """By a stage's key and the name of a way on from it, what that is expected to cost: [n]. See `Ways`."""

    @classmethod
    def of(
        cls, table: Table, confident: Mapping[str, tuple[Array, Bools]], ladder: Sequence[str], tiers: int
    ) -> Terrain:
        """``confident``: for each stage's key, p and whether it is out of the calibrator's range."""
        rounds = {}
        for upstream in ladder:
            for passages in (False, True):
                stages = [Stage(upstream, passages, tier) for tier in range(tiers)]
                held = takewhile(lambda stage: stage.key in table.stages, stages)
                made = tuple(_on_trial(table, confident, stage) for stage in held)
                if made:
                    rounds[upstream, passages] = made
        return cls(len(table), rounds, tuple(ladder), table.complete, table.weights, table.failed)

    def looking_ahead(self, table: Table, ways: Ways | None) -> Terrain:
        """With what ways that were learned before are expected to cost."""
        if ways is None:
            return self

        def foretold(stage: str, name: str, success: StageWeights) -> Array:
            return probabilities(success, table.stages[stage].values)[0]

        return replace(self, ahead=expected_costs(self, ways, foretold))

    def unseen(self, stage: Stage) -> Bools:
        """Who might have come to a stage, had the policy of the time sent them there: [n]."""
        failed = self.failed.get(stage.key, np.zeros(self.n, np.bool_))
        return np.full(self.n, not self.complete) & ~failed


def expected_costs(
    terrain: Terrain, ways: Ways, foretold: Callable[[str, str, StageWeights], Array]
) -> dict[str, dict[str, Array]]:
    """`Terrain.ahead`; ``foretold`` gives how likely a way succeeds, [n], by its stage's key, name and model."""
    ahead = {}
    for tiers in terrain.rounds.values():
        for now in tiers:
            key = now.column.stage.key
            ahead[key] = {
                name: way.expected_costs(now.foretelling if way.success is None else foretold(key, name, way.success))
                for name, way in ways.stages.get(key, {}).items()
            }
    return ahead


def _on_trial(table: Table, confident: Mapping[str, tuple[Array, Bools]], stage: Stage) -> Confident:
    """The draft of a stage, or the answer from memory where that is arbitrated and likelier right."""
    own = _confident(table.stages[stage.key], *confident[stage.key])
    key = replace(stage, memory=True).key
    if key not in table.stages:
        return own
    other = _confident(table.stages[key], *confident[key])
    instead = own.column.there & other.column.there & other.sure & (~own.sure | (other.p > own.p))
    column = replace(
        own.column,
        correct=np.where(instead, other.column.correct, own.column.correct),
        answerable=np.where(instead, other.column.answerable, own.column.answerable),
        whole=np.where(instead, other.column.whole, own.column.whole),
    )
    return Confident(column, np.where(instead, other.p, own.p), own.sure | instead, confident[stage.key][0])


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


def walk(terrain: Terrain, rule: Thresholds) -> Walked:
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
    waiting = np.ones(n, np.bool_)
    for first in [(terrain.ladder[0], passages) for passages in (True, False)[not terrain.passages_first :]]:
        if first in arriving:
            arriving[first] |= waiting & terrain.rounds[first][0].column.there
            waiting &= ~arriving[first]
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
    rule: Thresholds,
    key: Round,
    tier: int,
    here: Bools,
    made: _Way,
    arriving: Mapping[Round, Bools],
    number: int,
) -> Bools:
    """Decide for the questions that are here; returns those that go on to the next tier."""
    now, column = terrain.rounds[key][tier], terrain.rounds[key][tier].column
    for name, paid in made.costs.items():
        paid[here] += column.costs[name][here]
    made.stage[here], made.p[here], made.correct[here] = number, now.p[here], column.correct[here]
    going_on = np.zeros_like(here)
    left = here
    for step in decided(terrain, rule, key, tier, here, made.fruitless):
        left = left & ~step.chosen
        if step.action is Action.ANSWER:
            made.end[step.chosen] = ANSWERED
        elif step.action is Action.ABSTAIN:
            made.end[step.chosen] = ABSTAINED
        elif step.to is None:
            going_on |= step.taken
        else:
            arriving[step.to][step.taken] = True
        if step.action is Action.RETRIEVE:
            made.fruitless |= step.failed
    return going_on


@dataclass(frozen=True, slots=True)
class Going:
    """Questions that go one way from a stage, [n] each."""

    action: Action
    chosen: Bools
    """Who goes it; of these ``taken`` is known, and what became of the others was never seen."""
    taken: Bools
    failed: Bools
    """Who would have gone it, but it leads nowhere: for them it is decided again."""
    to: Round | None = None
    """Another round; None for an end, or the next tier."""


@dataclass(frozen=True, slots=True)
class _Choice:
    action: Action
    cost: Array
    """[n]; infinite where it is not open. The least goes first, of equals the one listed first."""
    to: Round | None = None
    first: Column | None = None
    """The stage it leads to."""


def decided(
    terrain: Terrain, rule: Thresholds, key: Round, tier: int, here: Bools, fruitless: Bools
) -> Iterator[Going]:
    """What becomes of the questions that are here, way by way."""
    choices = list(_choices(terrain, rule, key, tier))
    costs = np.stack([choice.cost for choice in choices])
    for place, choice in enumerate(choices):
        if choice.action is Action.RETRIEVE:
            costs[place][fruitless] = np.inf
    left = here
    while left.any():
        best = costs.argmin(0)
        for place, choice in enumerate(choices):
            mine = left & (best == place)
            if not mine.any():
                continue
            if choice.first is None:
                yield Going(choice.action, mine, mine, np.zeros_like(mine))
                left = left & ~mine
                continue
            taken = mine & choice.first.there
            failed = mine & ~taken & ~terrain.unseen(choice.first.stage)
            yield Going(choice.action, mine & ~failed, taken, failed, choice.to)
            left = left & ~(mine & ~failed)
            for other, closed in enumerate(choices):
                if closed.action is choice.action:
                    costs[other][failed] = np.inf


def _choices(terrain: Terrain, rule: Thresholds, key: Round, tier: int) -> Iterator[_Choice]:
    tiers = terrain.rounds[key]
    now, last = tiers[tier], tier + 1 == len(tiers)
    stage, further = now.column.stage, None if last else tiers[tier + 1].column
    threshold = rule.threshold(stage)
    yield _Choice(Action.ANSWER, np.where(now.sure & (now.p >= threshold), -1.0, np.inf))
    if isinstance(rule, ExpectedCostRule) and (ahead := terrain.ahead.get(stage.key)):
        if further is not None and "gather" in ahead:
            yield _Choice(Action.GATHER, np.where(now.column.answerable, ahead["gather"], np.inf), None, further)
        for name, cost in ahead.items():
            action, target = way_of(name)
            to = opened(terrain.ladder, key, action, target)
            if to is not None and to in terrain.rounds and action in rule.otherwise:
                yield _Choice(action, cost, to, terrain.rounds[to][0].column)
        yield _Choice(Action.ABSTAIN, np.full(terrain.n, rule.abstain))
        return
    if further is not None and threshold < 1.0:
        worth_it = now.column.whole & (now.p >= rule.gather_above)
        yield _Choice(Action.GATHER, np.where(worth_it, 1.0, np.inf), None, further)
    for place, way in enumerate(rule.otherwise):
        to = opened(terrain.ladder, key, way)
        if to is not None and to in terrain.rounds:
            yield _Choice(way, np.full(terrain.n, 2.0 + place), to, terrain.rounds[to][0].column)
    yield _Choice(Action.ABSTAIN, np.full(terrain.n, np.finfo(np.float64).max))


def opened(ladder: Sequence[str], key: Round, action: Action, target: str = "") -> Round | None:
    """The round that a way leads to from another, or None. Escalating leads to the next upstream unless told which."""
    upstream, passages = key
    if action is Action.RETRIEVE:
        return None if passages else (upstream, True)
    if action is not Action.ESCALATE:
        return None
    further = ladder[ladder.index(upstream) + 1 :]
    if target:
        return (target, False) if target in further else None
    return (further[0], False) if further else None
