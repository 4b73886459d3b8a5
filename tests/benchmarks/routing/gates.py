"""gate's own ways of choosing among upstreams, on answers of several.

- Thresholds: a threshold a stage on its confidence, by the search of `gate.tuning.search` at every price of a wrong
  answer, and on the same grid of quantiles that others get, for prices find the corners of the frontier alone.
- Expected cost: `gate.rules.expected_cost` at every price of a wrong answer, skipping ahead by what is foretold of each
  upstream further on.
- From the question on: the same with a stage in front that costs nothing and knows the question alone, so that the
  cheap upstreams too may be skipped. A trial: the pipeline drafts before it decides.
- gate: thresholds or expected cost, whichever does better within the fit half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gate.rules import ExpectedCostRule
from gate.tuning import expected_cost, search
from gate.tuning.expected_cost import ahead_of
from gate.tuning.fitting import Fitted, confidences, fit_table
from gate.tuning.foresight import Foresight, foresee
from gate.tuning.search import Option, Prices, Structure, structures
from gate.tuning.table import Column, Table
from gate.tuning.walk import Terrain, walk
from gate.types import Action, Stage
from tests.benchmarks.learned_from_text import LEARNED
from tests.benchmarks.routing.frontier import Ends, Method, Outcome, Policy, better
from tests.benchmarks.routing.rivals import SCORER, Answers, ladders
from tests.benchmarks.tuning.cascades import bounds_of, fitted_on, terrains
from tests.benchmarks.tuning.rungs import Rungs
from tests.benchmarks.tuning.sets import Array

GATE, THRESHOLDS, EXPECTED_COST = "gate", "gate, thresholds", "gate, expected cost"
FROM_THE_QUESTION = "gate, from the question on (a trial)"
WRONG = np.geomspace(0.1, 1e4, 41)
"""Prices of a wrong answer, in answers of the dearest."""
ABSTAIN = 100
"""The price of an abstention, in those of a wrong answer and an answer of the dearest: the last always answers."""
QUESTION = "question"
SKILL = "upstream_skill"
OF_QUESTIONS = tuple(name for name in LEARNED if name != SCORER)
"""Signals that need no draft, with those whose names begin with ``question_``."""


@dataclass(frozen=True)
class Ground:
    """What policies are chosen on, and judged on: the rows of a table, and where they can lead."""

    fit: Table
    test: Table
    choosing: Terrain
    judging: Terrain
    fitted: Fitted
    bounds: dict[str, tuple[float, float]]

    def policy(self, option: Option, foresight: Foresight | None = None) -> Policy:
        def seen() -> Outcome:
            ahead = ahead_of(self.choosing, option.ways, foresight) if option.ways and foresight else {}
            return outcome(replace(self.choosing, ahead=ahead), option)

        def judged() -> Outcome:
            return outcome(self.judging.looking_ahead(self.test, option.ways), option)

        return Policy.of(" > ".join(option.structure.ladder), seen, judged)

    def by_expected_cost(self, shapes: Sequence[Structure], dear: float) -> Iterator[Policy]:
        foresight = foresee(self.fit, self.fitted, self.bounds)
        rule = ExpectedCostRule(wrong=1.0, abstain=1.0)
        for shape in shapes:
            for price in priced(dear, WRONG):
                option = expected_cost.best(self.choosing, shape, price, rule, foresight)
                if option.coverage > 1 - 1e-9:
                    yield self.policy(option, foresight)


def outcome(terrain: Terrain, option: Option) -> Outcome:
    walked = walk(search.within(terrain, option.structure), option.rule)
    return Outcome((walked.answered & (walked.correct == 1.0)).astype(np.float64), walked.costs["money"])


def priced(dear: float, wrong: Array) -> list[Prices]:
    return [Prices(float(w), ABSTAIN * float(w + dear)) for w in dear * wrong]


def gates(rungs: Rungs, ends: Ends) -> list[Method]:
    """``gate`` first."""
    bounds, fitted = bounds_of(rungs.table), fitted_on(rungs.table, rungs.fit)
    choosing, judging = terrains(rungs.table, rungs.fit, rungs.test, fitted)
    ground = Ground(rungs.table.where(rungs.fit), rungs.table.where(rungs.test), choosing, judging, fitted, bounds)
    dear = float(ends.seen[1].cost.mean())
    ladder = choosing.ladder
    thresholds = Method(
        THRESHOLDS, (*_searched(ground, dear), *ladders(Answers.of(rungs), _confidences(rungs, ground)))
    )
    # of ladders that begin alike the longest can skip what the others lack
    shapes = [Structure(ladder[i:], (Action.ESCALATE,) if ladder[i + 1 :] else ()) for i in range(len(ladder))]
    by_cost = Method(EXPECTED_COST, tuple(ground.by_expected_cost(shapes, dear)))
    trial = _from_the_question(rungs, dear)
    return [better([thresholds, by_cost], ends).renamed(GATE), thresholds, by_cost, trial]


def _searched(ground: Ground, dear: float) -> Iterator[Policy]:
    for shape in structures(ground.choosing.ladder, retrieve=False, escalate=True):
        for price in priced(dear, WRONG):
            option = search.best(ground.choosing, shape, price)
            if option.coverage > 1 - 1e-9:
                yield ground.policy(option)


def _confidences(rungs: Rungs, ground: Ground) -> Array:
    """[upstreams, n]."""
    made = np.zeros((len(rungs.ladder), len(rungs.table)))
    for place, upstream in enumerate(ground.choosing.ladder):
        made[place, rungs.fit] = ground.choosing.rounds[upstream, False][0].p
        made[place, rungs.test] = ground.judging.rounds[upstream, False][0].p
    return made


def _from_the_question(rungs: Rungs, dear: float) -> Method:
    table = with_question(rungs.table)
    first = Stage(QUESTION).key
    drafted = replace(table, stages={key: column for key, column in table.stages.items() if key != first})
    bounds = bounds_of(drafted)
    fitted = fit_table(drafted.where(rungs.fit), bounds)
    n, m = len(rungs.fit), len(rungs.test)
    nothing = [(np.zeros(k), np.zeros(k, np.bool_)) for k in (n, m)]
    fitted = Fitted(
        fitted.stages,
        {first: nothing[0], **fitted.unseen},
        {first: np.ones(n, np.bool_), **fitted.coming},
    )
    judged = {first: nothing[1], **confidences(fitted.stages, drafted.where(rungs.test))}
    ladder = tuple(column.stage.upstream for column in table.stages.values())
    fit, test = table.where(rungs.fit), table.where(rungs.test)
    choosing, judging = (
        Terrain.of(some, {key: (p, np.zeros_like(strange)) for key, (p, strange) in known.items()}, ladder, 1)
        for some, known in ((fit, fitted.unseen), (test, judged))
    )
    ground = Ground(fit, test, choosing, judging, fitted, bounds)
    return Method(FROM_THE_QUESTION, tuple(ground.by_expected_cost([Structure(ladder, (Action.ESCALATE,))], dear)))


def with_question(table: Table) -> Table:
    """With a stage before all others that answers nothing and reads the question; all read every upstream's skill."""
    columns, names = list(table.stages.values()), table.signals
    n = len(table)
    skills = np.zeros((n, 0), np.float32)
    if SKILL in names:
        skills = np.stack([column.values[:, names.index(SKILL)] for column in columns], axis=1)
    alone = np.array([name.startswith("question_") or name in OF_QUESTIONS for name in names])
    nothing = {name: np.zeros(n) for name in columns[0].costs}
    yes, no = np.ones(n, np.bool_), np.zeros(n, np.bool_)
    values = np.hstack([np.where(alone, columns[0].values, np.nan), skills]).astype(np.float32)
    stages = {Stage(QUESTION).key: Column(Stage(QUESTION), yes, values, np.zeros(n), no, yes, nothing)}
    for column in columns:
        stages[column.stage.key] = replace(column, values=np.hstack([column.values, skills]).astype(np.float32))
    more = tuple(f"{SKILL}_{place}" for place in range(skills.shape[1]))
    return replace(table, signals=(*names, *more), stages=stages)
