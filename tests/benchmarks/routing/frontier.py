"""Ways of routing as lists of policies, chosen on one half of the questions and judged on the other.

A *method* is all the policies that it allows, each with its accuracy and cost on the fit half. Every method is chosen
from alike: the cheapest that loses at most so many points there, or the most accurate within a budget. What the test
half says of a policy is looked at only once it is chosen.

APGR is the mean over budgets of the performance gap recovered, (accuracy - weakest) / (strongest - weakest) (Ong et
al. 2024, RouteLLM, over shares of calls; here over cost). Budgets lie in the middle of ten equal parts of the way from
the cheapest's cost to the strongest's. Between the chosen policies, and the cheapest and the strongest alone, a gateway
may draw lots: accuracy is linear there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tests.benchmarks.tuning.cascades import RESAMPLES, Interval
from tests.benchmarks.tuning.sets import Array, Places

LEVELS = tuple((k + 0.5) / 10 for k in range(10))
_A_BLOCK = 100
_REDRAWN = 10
"""How often the fit half is parted anew."""


@dataclass(frozen=True)
class Outcome:
    """What a policy did with questions, [n] each."""

    right: Array
    """1, 0, or the chance of it."""
    cost: Array

    def where(self, questions: Places) -> Outcome:
        return Outcome(self.right[questions], self.cost[questions])


@dataclass(frozen=True)
class Policy:
    said: str
    seen: Callable[[], Outcome]
    """What it did on the fit half."""
    judged: Callable[[], Outcome]
    """… and on the test half."""
    accuracy: float
    """On the fit half."""
    cost: float
    """A question, on the fit half."""

    @classmethod
    def of(cls, said: str, seen: Callable[[], Outcome], judged: Callable[[], Outcome]) -> Policy:
        outcome = seen()
        return cls(said, seen, judged, float(outcome.right.mean()), float(outcome.cost.mean()))


@dataclass(frozen=True)
class Method:
    name: str
    policies: tuple[Policy, ...]

    @cached_property
    def seen(self) -> tuple[Array, Array]:
        """Right and cost of all on the fit half, [policies, n] each."""
        found = [policy.seen() for policy in self.policies]
        return np.array([one.right for one in found]), np.array([one.cost for one in found])

    def renamed(self, name: str) -> Method:
        return Method(name, self.policies)


@dataclass(frozen=True)
class Ends:
    """The cheapest and the strongest alone, on the fit half and judged."""

    seen: tuple[Outcome, Outcome]
    judged: tuple[Outcome, Outcome]

    @property
    def strongest(self) -> float:
        return float(self.seen[1].right.mean())

    def budgets(self, questions: Places | None = None) -> Array:
        """Of the fit half, or of some of it."""
        low, high = (float(one.cost[slice(None) if questions is None else questions].mean()) for one in self.seen)
        return np.array([low + share * (high - low) for share in LEVELS])


def cheapest(policies: Sequence[Policy], at_least: float) -> Policy | None:
    """Of equally cheap ones the most accurate."""
    good = [policy for policy in policies if policy.accuracy >= at_least - 1e-9]
    return min(good, key=lambda policy: (policy.cost, -policy.accuracy), default=None)


def within(policies: Sequence[Policy], budget: float) -> Policy | None:
    """The most accurate within a budget; of equally accurate ones the cheapest."""
    good = [policy for policy in policies if policy.cost <= budget * (1 + 1e-9)]
    return max(good, key=lambda policy: (policy.accuracy, -policy.cost), default=None)


def gap_recovered(accuracy: float, weakest: float, strongest: float) -> float:
    return (accuracy - weakest) / (strongest - weakest)


@dataclass(frozen=True)
class Swept:
    """The policies that a method chose for the budgets, with the ends, judged: [points, n]."""

    right: Array
    cost: Array

    @classmethod
    def of(cls, method: Method, ends: Ends) -> Swept:
        chosen = [within(method.policies, budget) for budget in ends.budgets()]
        found = [ends.judged[0], *(policy.judged() for policy in chosen if policy is not None), ends.judged[1]]
        return cls(np.array([one.right for one in found]), np.array([one.cost for one in found]))

    @classmethod
    def across(cls, parts: Sequence[tuple[Places, Swept]], n: int) -> Swept:
        """Of n questions, each in one of the parts, which all went by the same budgets."""
        right, cost = np.zeros((2, len(parts[0][1].right), n))
        for places, one in parts:
            right[:, places], cost[:, places] = one.right, one.cost
        return cls(right, cost)

    def accuracies(self, counts: Array) -> Array:
        """At each budget of the test half, for questions drawn so often: ``counts`` [resamples, n]."""
        n = counts.sum(1, keepdims=True)
        right, cost = counts @ self.right.T / n, counts @ self.cost.T / n
        return np.array([_at_budgets(r, c) for r, c in zip(right, cost, strict=True)])

    def recovered(self, counts: Array) -> Array:
        """The mean performance gap recovered, [resamples]; nan where there is no gap."""
        right = counts @ self.right[[0, -1]].T / counts.sum(1, keepdims=True)
        gap = right[:, 1] - right[:, 0]
        gained = self.accuracies(counts).mean(1) - right[:, 0]
        return np.asarray(np.divide(gained, gap, out=np.full(len(gap), np.nan), where=gap > 0))


def better(methods: Sequence[Method], ends: Ends) -> Method:
    """The one that does best on the fit half alone: chosen on a part of it, judged on the rest, again and again.

    To take the best policies of all would favour whichever has the most to choose from.
    """
    n = len(ends.seen[0].right)
    rng = np.random.default_rng(0)
    halves = [np.array_split(rng.permutation(n), 2) for _ in range(_REDRAWN)]
    return max(methods, key=lambda method: np.mean([_within_fit(method, ends, *half) for half in halves]))


def _within_fit(method: Method, ends: Ends, choosing: Places, judging: Places) -> float:
    """Mean accuracy over budgets."""
    right, cost = (one[:, choosing].mean(1) for one in method.seen)
    places = [_most_accurate(right, cost, budget) for budget in ends.budgets(choosing)]
    points = [(one.right[judging].mean(), one.cost[judging].mean()) for one in ends.seen]
    chosen = [(one[places][:, judging].mean(1)) for one in method.seen]
    rights, costs = (np.array([points[0][k], *chosen[k], points[1][k]]) for k in (0, 1))
    return float(_at_budgets(rights, costs).mean())


def _most_accurate(right: Array, cost: Array, budget: float) -> int:
    affordable = np.where(cost <= budget * (1 + 1e-9), right, -1.0)
    return int(np.lexsort((cost, -affordable))[0])


def _at_budgets(right: Array, cost: Array) -> Array:
    """Accuracy at the budgets between the first cost and the last."""
    budgets = cost[0] + np.array(LEVELS) * (cost[-1] - cost[0])
    order = np.argsort(cost, kind="stable")
    return np.asarray(np.interp(budgets, cost[order], right[order]))


def compared(swept: Mapping[str, Swept], with_: str) -> dict[str, tuple[Interval, Interval]]:
    """APGR of each, and of ``with_`` less that of each, with 95 % intervals by resampling the test questions."""
    whole, many = _resampled(swept)
    return {
        name: (_interval(whole[name], many[name]), _interval(whole[with_] - whole[name], many[with_] - many[name]))
        for name in swept
    }


def pooled(sets: Sequence[Mapping[str, Swept]], with_: str) -> dict[str, tuple[int, Interval]]:
    """By method, over how many sets, and the mean over them of ``with_`` less it in APGR; resampled within each set."""
    leads: dict[str, list[tuple[float, Array]]] = {}
    for swept in filter(None, sets):
        whole, many = _resampled(swept)
        for name in swept:
            kind = name.split(" (")[0]
            leads.setdefault(kind, []).append((whole[with_] - whole[name], many[with_] - many[name]))
    return {
        name: (
            len(each),
            _interval(float(np.mean([value for value, _ in each])), np.mean([d for _, d in each], axis=0)),
        )
        for name, each in leads.items()
    }


def _resampled(swept: Mapping[str, Swept]) -> tuple[dict[str, float], dict[str, Array]]:
    n = next(iter(swept.values())).right.shape[1]
    rng = np.random.default_rng(0)
    drawn: dict[str, list[Array]] = {name: [] for name in swept}
    for _ in range(RESAMPLES // _A_BLOCK):
        counts = rng.multinomial(n, np.full(n, 1 / n), _A_BLOCK).astype(np.float64)
        for name, one in swept.items():
            drawn[name].append(one.recovered(counts))
    whole = {name: float(one.recovered(np.ones((1, n)))[0]) for name, one in swept.items()}
    return whole, {name: np.concatenate(each) for name, each in drawn.items()}


def _interval(value: float, drawn: Array) -> Interval:
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))
