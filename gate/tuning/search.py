"""Search thresholds and routes for the least expected cost, at every price of a wrong answer.

For a price of a wrong answer and one of an abstention, the best policy minimises

    E[ money + abstain_price * 1{abstained} + wrong_price * 1{answered and wrong} ]

(Chow 1970 for one model; Chen et al. 2023, FrugalGPT, for a ladder). Thresholds are found round by round from the last
to the first, each exactly on a grid given what moving on costs, for the questions that get there; a few sweeps settle
who gets there, and from what they settle on they begin again with one round shut or wide open. Going through prices
from high to low gives policies from the safest to the boldest: the sequence that certification walks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from gate.calibration.logistic import Ways
from gate.rules import ThresholdRule, Thresholds
from gate.rules.thresholds import Way
from gate.tuning.table import Array, Bools
from gate.tuning.walk import Confident, Round, Terrain, Walked, opened, walk
from gate.types import Action, Stage

NEVER, ALWAYS = 1.0, 1e-6
GRID: tuple[float, ...] = (
    ALWAYS,
    *(round(1 / (1 + float(np.exp(-z))), 4) for z in np.linspace(-3.0, 6.0, 46)),
    NEVER,
)
GATHER = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5)
RATIOS = tuple(float(r) for r in np.geomspace(300.0, 1.05, 28))
"""Prices of a wrong answer, in those of an abstention."""
ENOUGH = 30
"""A round that fewer questions get to takes its threshold from all that were seen in it."""
_SWEEPS = 2
APART = 0.02
"""Policies of a sequence that differ more than this in coverage have others put between them."""
ORDERS: tuple[tuple[Way, ...], ...] = (
    (Action.RETRIEVE, Action.ESCALATE),
    (Action.ESCALATE, Action.RETRIEVE),
    (Action.RETRIEVE,),
    (Action.ESCALATE,),
    (),
)


@dataclass(frozen=True, slots=True)
class Prices:
    """Of what goes wrong, in US dollars."""

    wrong: float
    abstain: float


@dataclass(frozen=True, slots=True)
class Structure:
    """Which upstreams are asked, and in what order ways are tried."""

    ladder: tuple[str, ...]
    otherwise: tuple[Way, ...]
    closed_book_at: float | None = None
    """What the policy asks at least of drafts from memory alone: the search may ask more, never less."""

    def least(self, key: Round) -> float:
        """The lowest threshold a round may have."""
        return 0.0 if key[1] or self.closed_book_at is None else self.closed_book_at


@dataclass(frozen=True, slots=True)
class Option:
    """A structure with its thresholds, and what it would have done with the questions it was chosen on."""

    structure: Structure
    rule: Thresholds
    coverage: float
    risk: float
    """Wrong among answered; 0 where nothing was."""
    money: float
    """A question."""
    expected_cost: float
    """Under the prices it was chosen for."""
    stated: float = 1.0
    """The share of wrong among answered by what the confidences say."""
    ways: Ways | None = None
    """What the rule learned of the ways on, where it asks for that."""


def structures(
    ladder: Sequence[str], *, retrieve: bool, escalate: bool, closed_book_at: float | None = None
) -> Iterator[Structure]:
    """Every ladder that keeps the order of the given one, with every order of ways that differs in it."""
    for size in range(1, (len(ladder) if escalate else 1) + 1):
        for chosen in combinations(ladder, size) if escalate else [tuple(ladder[:1])]:
            for otherwise in ORDERS:
                fits = (Action.RETRIEVE in otherwise) <= retrieve and (Action.ESCALATE in otherwise) == (size > 1)
                if fits:
                    yield Structure(chosen, otherwise, closed_book_at)


def best(terrain: Terrain, structure: Structure, prices: Prices) -> Option:
    """The thresholds of least expected cost on these questions. Unlabelled answers count as wrong."""
    rounds = _rounds(terrain, structure)
    everyone = {key: terrain.rounds[key][0].column.there for key in rounds}
    options = (_at(terrain, structure, prices, gather_above, everyone) for gather_above in _gathers(terrain))
    found = min(options, key=_expected_cost)
    thresholds = {key: found.rule.threshold(Stage(*key)) for key in rounds}
    # thresholds that are best one by one need not be best together: begin again with one round shut, or wide open
    others = ({**thresholds, key: end} for key in rounds[:-1] for end in (NEVER, ALWAYS) if thresholds[key] != end)
    rules = (_rule(structure, each, found.rule.gather_above) for each in others)
    reaches = (_reach(terrain, structure, rule, rounds) for rule in rules)
    again = [_at(terrain, structure, prices, found.rule.gather_above, reach) for reach in reaches]
    return min([found, *again], key=_expected_cost)


def _expected_cost(option: Option) -> float:
    return option.expected_cost


def _gathers(terrain: Terrain) -> tuple[float, ...]:
    return GATHER if any(len(tiers) > 1 for tiers in terrain.rounds.values()) else GATHER[:1]


def _rounds(terrain: Terrain, structure: Structure) -> list[Round]:
    books = (False, True) if Action.RETRIEVE in structure.otherwise else (False,)
    return [(name, passages) for name in structure.ladder for passages in books if (name, passages) in terrain.rounds]


def _at(
    terrain: Terrain, structure: Structure, prices: Prices, gather_above: float, reach: Mapping[Round, Bools]
) -> Option:
    """Sweeps from where so many get to each round."""
    found: list[Option] = []
    for _ in range(_SWEEPS):
        costs: dict[Round, Array] = {}
        thresholds: dict[Round, float] = {}
        for key in reversed(list(reach)):
            onward = _onward(terrain, structure, key, costs, prices)
            least = structure.least(key)
            thresholds[key] = _threshold(terrain, key, least, reach[key], onward, prices, gather_above)
            costs[key] = _cost(terrain.rounds[key], thresholds[key], onward, prices, gather_above, terrain.complete)
        rule = _rule(structure, thresholds, gather_above)
        found.append(option(terrain, structure, rule, prices))
        reach = _reach(terrain, structure, rule, list(reach))
    return min(found, key=_expected_cost)


def between(terrain: Terrain, safer: Option, bolder: Option, prices: Prices) -> Iterator[Option]:
    """Options of the bolder one's structure on the way from the safer one, where they lie far apart in coverage.

    Prices find the corners of the frontier alone: between two of them no price makes a mixture best, but a promise may
    well lie there. Thresholds are mixed in log-odds.
    """
    steps = int(abs(bolder.coverage - safer.coverage) / APART)
    named = [Stage(name, passages) for name, passages in terrain.rounds if name in bolder.structure.ladder]
    for step in range(1, steps + 1):
        share = step / (steps + 1)
        mixed = {
            (s.upstream, s.passages): _mixed(safer.rule.threshold(s), bolder.rule.threshold(s), share) for s in named
        }
        rule = _rule(bolder.structure, mixed, bolder.rule.gather_above)
        yield option(terrain, bolder.structure, rule, prices)


def _mixed(one: float, other: float, share: float) -> float:
    if one == other:  # never stays never
        return one
    a, b = (float(np.log(t / (1 - t))) for t in (min(max(one, ALWAYS), 1 - 1e-4), min(max(other, ALWAYS), 1 - 1e-4)))
    return max(ALWAYS, round(1 / (1 + float(np.exp(-(a + share * (b - a))))), 4))


def _rule(structure: Structure, thresholds: dict[Round, float], gather_above: float) -> ThresholdRule:
    stages = {Stage(name, passages): threshold for (name, passages), threshold in thresholds.items()}
    general = next((threshold for threshold in stages.values() if threshold < NEVER), NEVER)
    rule = ThresholdRule(answer_at=general, gather_above=gather_above, otherwise=structure.otherwise)
    if structure.closed_book_at is not None:
        rule = rule.model_copy(update={"closed_book_at": structure.closed_book_at})
    apart = {s.round_key: t for s, t in stages.items() if rule.threshold(s) != t}
    return rule.model_copy(update={"answer_at_in": apart}) if apart else rule


def _threshold(
    terrain: Terrain,
    key: Round,
    least: float,
    reached: Bools,
    onward: Array,
    prices: Prices,
    gather_above: float,
) -> float:
    """The one of the grid, from ``least`` up, at which those who get here cost least; the highest of several."""
    tiers = terrain.rounds[key]
    there = tiers[0].column.there
    mine = reached if int(reached.sum()) >= ENOUGH else there
    if not mine.any():
        return NEVER
    rows = np.flatnonzero(mine)
    cut = [_rows(tier, rows) for tier in tiers]
    totals = _totals(cut, terrain.weights[rows], onward[rows], prices, gather_above, terrain.complete)
    open_to = [(t, float(total)) for t, total in zip(GRID, totals, strict=True) if t >= least]
    low = min(total for _, total in open_to)
    return max(t for t, total in open_to if total <= low + 1e-9 * (1 + abs(low)))


def _totals(
    tiers: Sequence[Confident], weights: Array, onward: Array, prices: Prices, gather_above: float, complete: bool
) -> Array:
    """What all questions cost together from this round on, at each threshold of the grid.

    What a question costs is a step function of the threshold: it is answered in the first tier that is sure enough.
    """
    grid, n = np.array(GRID), len(weights)
    jumps, paid = np.zeros(len(grid) + 1), np.zeros(n)
    alive, top = np.ones(n, np.bool_), np.full(n, -np.inf)

    def add(cost: Array, of: Bools, above: Array, upto: Array) -> None:
        """To every threshold t with above < t <= upto."""
        for ends, sign in ((above, 1.0), (upto, -1.0)):
            places = np.searchsorted(grid, ends[of], side="right")
            jumps[:] += sign * np.bincount(places, weights[of] * cost[of], len(jumps))

    for tier, now in enumerate(tiers):
        paid += np.where(alive, now.column.costs["money"], 0.0)
        surest = np.where(alive & now.sure, np.maximum(top, now.p), top)
        add(paid + np.where(now.column.correct == 1.0, 0.0, prices.wrong), alive, top, surest)
        last = tier + 1 == len(tiers)
        wanted = np.zeros_like(alive) if last else alive & now.column.whole & (now.p >= gather_above)
        going_on = wanted if last else wanted & tiers[tier + 1].column.there
        ahead = onward if complete else np.where(wanted, prices.wrong, onward)
        add(paid + ahead, alive & ~going_on, surest, np.full(n, np.inf))
        alive, top = going_on, surest
    totals = np.cumsum(jumps)[:-1]
    # for what nothing satisfies no more evidence is bought
    never = grid >= NEVER
    totals[never] = weights @ _cost(tiers, NEVER, onward, prices, gather_above, complete) if never.any() else 0.0
    return totals


def _rows(tier: Confident, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Confident:
    return Confident(tier.column.where(rows), tier.p[rows], tier.sure[rows])


def _cost(
    tiers: Sequence[Confident], threshold: float, onward: Array, prices: Prices, gather_above: float, complete: bool
) -> Array:
    """What each question costs from this round on: [n]."""
    cost, alive = np.zeros(len(onward)), np.ones(len(onward), np.bool_)
    for tier, now in enumerate(tiers):
        cost += np.where(alive, now.column.costs["money"], 0.0)
        answered = alive & now.sure & (now.p >= threshold)
        cost += np.where(answered & ~(now.column.correct == 1.0), prices.wrong, 0.0)
        left = alive & ~answered
        alive = np.zeros_like(left)
        if tier + 1 < len(tiers) and threshold < NEVER:
            wanted = left & now.column.whole & (now.p >= gather_above)
            alive = wanted & tiers[tier + 1].column.there
            if not complete:
                cost += np.where(wanted & ~alive, prices.wrong, 0.0)
                left &= ~wanted
        cost += np.where(left & ~alive, onward, 0.0)
    return cost


def _onward(terrain: Terrain, structure: Structure, key: Round, costs: dict[Round, Array], prices: Prices) -> Array:
    """What each question costs that moves on from a round: [n]."""
    onward = np.full(terrain.n, prices.abstain)
    for action in reversed(structure.otherwise):
        to = opened(structure.ladder, key, action)
        if to is not None and to in costs:
            first = terrain.rounds[to][0].column
            onward = np.where(terrain.unseen(first.stage), prices.wrong, onward)
            onward = np.where(first.there, costs[to], onward)
    return onward


def _reach(terrain: Terrain, structure: Structure, rule: ThresholdRule, rounds: Sequence[Round]) -> dict[Round, Bools]:
    """Who gets to each round under a rule."""
    walked = walk(within(terrain, structure), rule)
    return {key: walked.entered[key] for key in rounds}


def within(terrain: Terrain, structure: Structure) -> Terrain:
    return replace(terrain, ladder=structure.ladder)


def option(terrain: Terrain, structure: Structure, rule: Thresholds, prices: Prices) -> Option:
    """What a rule would have done with these questions."""
    walked = walk(within(terrain, structure), rule)
    return Option(structure, rule, *_outcome(walked, terrain.weights, prices), _stated(walked, terrain.weights))


def _outcome(walked: Walked, weights: Array, prices: Prices) -> tuple[float, float, float, float]:
    """Coverage, risk, money and expected cost. What is unknown counts as answered and wrong."""
    shares = weights / max(float(weights.sum()), np.finfo(float).tiny)
    out = walked.answered | walked.unknown
    answered, wrong = float(shares @ out), float(shares @ (out & ~(walked.answered & (walked.correct == 1.0))))
    money = float(shares @ walked.costs["money"])
    cost = money + prices.abstain * (1.0 - answered) + prices.wrong * wrong
    return answered, wrong / answered if answered else 0.0, money, cost


def _stated(walked: Walked, weights: Array) -> float:
    """The share of wrong among those answered, by what their confidences say."""
    out = walked.answered | walked.unknown
    return (
        float(np.average(np.where(walked.answered, 1 - walked.p, 1.0)[out], weights=weights[out])) if out.any() else 1.0
    )
