"""Retrieve or answer from memory: gate's ways and published ones, on questions answered both ways.

A retrieval costs 1, an answer from memory nothing. Each question is judged by what was learned and chosen on the four
fifths that lack it.

- gate, thresholds: memory answers where its confidence reaches a threshold.
- gate, expected cost: retrieve where what it is foretold to bring is worth it, at every price of a wrong answer.
- self-check: one number that the recording keeps of the answer from memory, with a threshold: the first there is of
  EigenScore (as SeaKR, Yao et al. 2024, decides by), perplexity, agreement with a second answer from memory.
- Adaptive-RAG (Jeong et al. 2024): what its classifier said of the question as recorded, and its probability that no
  retrieval is needed with a threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from gate.tuning.search import Structure
from gate.tuning.table import Table
from gate.types import Action, Stage
from tests.benchmarks.routing.frontier import Ends, Method, Outcome, Policy, Swept, better, cheapest
from tests.benchmarks.routing.gates import EXPECTED_COST, GATE, THRESHOLDS, Ground
from tests.benchmarks.tuning.cascades import bounds_of, fitted_on, terrains
from tests.benchmarks.tuning.rungs import Pairs
from tests.benchmarks.tuning.sets import Array, Bools, Floats, Places, closed_book

FOLDS = 5
SELF_CHECK = ("-eigen_score", "-perplexity", "second_opinion_agreement")
QUANTILES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Retrieved:
    """One method over all questions."""

    chosen: Outcome
    """By the policy of fewest retrievals that lost nothing on the questions it was chosen on."""
    swept: Swept


def retrieved(pairs: Pairs) -> dict[str, Retrieved]:
    """By method, ``gate`` first; each question by what was chosen without it."""
    n = len(pairs.without)
    fold = np.random.default_rng(0).permutation(n) % FOLDS
    chosen: dict[str, list[tuple[Places, Outcome]]] = {}
    swept: dict[str, list[tuple[Places, Swept]]] = {}
    for held in range(FOLDS):
        fit, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        halves = _Halves(pairs, fit, test)
        ends = halves.ends()
        for method in halves.methods(ends):
            best = cheapest(method.policies, ends.strongest)
            outcome = ends.judged[1] if best is None else best.judged()
            chosen.setdefault(method.name, []).append((test, outcome))
            swept.setdefault(method.name, []).append((test, Swept.of(method, ends)))
    return {name: Retrieved(_joined(parts, n), Swept.across(swept[name], n)) for name, parts in chosen.items()}


def _joined(parts: Sequence[tuple[Places, Outcome]], n: int) -> Outcome:
    right, cost = np.zeros((2, n))
    for places, one in parts:
        right[places], cost[places] = one.right, one.cost
    return Outcome(right, cost)


@dataclass(frozen=True)
class _Halves:
    pairs: Pairs
    fit: Places
    test: Places

    def ends(self) -> Ends:
        """Never and always."""
        seen, judged = ((self.skipping(1.0, some), self.skipping(0.0, some)) for some in (self.fit, self.test))
        return Ends(seen, judged)

    def skipping(self, share: Array | float, questions: Places) -> Outcome:
        """``share`` [n] of each question is answered from memory."""
        memory = np.broadcast_to(share, len(self.pairs.without))[questions]
        right = memory * self.pairs.without[questions] + (1 - memory) * self.pairs.with_[questions]
        return Outcome(right, 1 - memory)

    def policy(self, share: Array | float) -> Policy:
        return Policy.of("", partial(self.skipping, share, self.fit), partial(self.skipping, share, self.test))

    def methods(self, ends: Ends) -> Iterator[Method]:
        values, names = self.pairs.signals(self.fit, self.test)
        thresholds, by_cost = self._gates(values, names)
        yield better([thresholds, by_cost], ends).renamed(GATE)
        yield from (thresholds, by_cost)
        for name in SELF_CHECK:
            if name in names:
                yield Method(f"self-check ({name.lstrip('-')})", self._cut(values[:, names.index(name)]))
                break
        if self.pairs.router is not None:
            none = np.array([said["option"] == "A" for said in self.pairs.router])
            yield Method("Adaptive-RAG, as recorded", (self.policy(none.astype(np.float64)),))
            likely = np.array([said["probs_A_none_B_single_C_multi"][0] for said in self.pairs.router])
            yield Method("Adaptive-RAG, with a threshold", self._cut(likely))
        yield Method("random", tuple(self.policy(float(share)) for share in QUANTILES))

    def _gates(self, values: Floats, names: list[str]) -> tuple[Method, Method]:
        table = closed_book(["m"], names, [values], [self.pairs.without > 0])
        fitted = fitted_on(table, self.fit)
        choosing, judging = terrains(table, self.fit, self.test, fitted)
        p = np.zeros(len(values))
        p[self.fit], p[self.test] = choosing.rounds["m", False][0].p, judging.rounds["m", False][0].p
        both = self._with_passages(table)
        bounds, fitted = bounds_of(both), fitted_on(both, self.fit)
        choosing, judging = terrains(both, self.fit, self.test, fitted)
        ground = Ground(both.where(self.fit), both.where(self.test), choosing, judging, fitted, bounds)
        shape = Structure(("m",), (Action.RETRIEVE,))
        by_cost = Method(EXPECTED_COST, (self.policy(0.0), *ground.by_expected_cost([shape], 1.0)))
        return Method(THRESHOLDS, self._cut(p)), by_cost

    def _with_passages(self, table: Table) -> Table:
        memory = table.stages[Stage("m").key]
        read = replace(
            memory,
            stage=Stage("m", passages=True),
            correct=self.pairs.with_,
            costs={**memory.costs, "money": np.ones(len(self.pairs.with_))},
        )
        return replace(table, stages={**table.stages, read.stage.key: read})

    def _cut(self, score: Floats | Array) -> tuple[Policy, ...]:
        """Thresholds at quantiles, with none and all; where the score is missing, passages are wanted."""
        known: Bools = ~np.isnan(score)
        seen = score[self.fit][known[self.fit]]
        cuts = [*(np.unique(np.quantile(seen, QUANTILES, method="lower")) if len(seen) else ()), np.inf]
        skips = (np.where(known, score, -np.inf) >= cut for cut in cuts)
        return tuple(self.policy(skip.astype(np.float64)) for skip in skips)
