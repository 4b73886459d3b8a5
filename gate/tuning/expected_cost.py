"""Find what the rule of least expected cost reckons with.

It begins with the thresholds and the order of ways that are best at the same prices (`gate.tuning.search`). By what
questions then cost from each stage on, as it was right or wrong there, each way on has a curve: cost by how likely it
was to succeed, decreasing, piecewise linear. Going the way that is cheapest for each question is one step of policy
iteration (Howard 1960) with regressed costs to go (Longstaff and Schwartz 2001); it is taken again from there, and kept
where it costs less. There is one knob, the price of a wrong answer: from high to low it gives policies from the safest
to the boldest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from gate.calibration.logistic import Way, Ways, way_of
from gate.rules import ExpectedCostRule, Thresholds
from gate.tuning import search
from gate.tuning.foresight import Foresight
from gate.tuning.search import ENOUGH, Option, Prices, Structure, option, within
from gate.tuning.table import Array, Bools
from gate.tuning.walk import Round, Terrain, decided, expected_costs, opened, walk
from gate.types import Action, Stage

_KNOTS = 20
"""Of a curve, at most."""
_A_KNOT = 40
"""Questions behind one, at least."""
_SWEEPS = 2
_PLACES = 6
_Place = tuple[Round, int]
"""A round and a tier of it."""


def best(
    terrain: Terrain, structure: Structure, prices: Prices, rule: ExpectedCostRule, foresight: Foresight
) -> Option:
    """The rule at these prices, with what it learned of the ways on.

    ``rule`` gives the floors it keeps to, ``answer_at`` and ``closed_book_at``; thresholds of rounds are found anew.
    """
    ground = within(terrain, structure)
    by_order = search.best(terrain, structure, prices)
    begun = _begun(rule, structure, prices, by_order.rule, ground)
    found = [option(ground, structure, begun, prices)]
    looking, seen = ground, begun
    for _ in range(_SWEEPS):
        ways = _ways(looking, structure, seen, foresight, walk(looking, seen).entered)
        looking = replace(ground, ahead=ahead_of(ground, ways, foresight))
        found.append(replace(option(looking, structure, begun, prices), ways=ways))
    return min(found, key=lambda each: each.expected_cost)


def _begun(
    rule: ExpectedCostRule, structure: Structure, prices: Prices, by_order: Thresholds, terrain: Terrain
) -> ExpectedCostRule:
    """The rule at these prices with the thresholds of another, none below its floors."""
    named = [Stage(name, passages) for name, passages in terrain.rounds if name in structure.ladder]
    update = {
        "kind": rule.kind,  # what is set is what is written
        "wrong": prices.wrong,
        "abstain": prices.abstain,
        "otherwise": structure.otherwise,
        "gather_above": by_order.gather_above,
        "answer_at_in": {stage.round_key: max(rule.floor(stage), by_order.threshold(stage)) for stage in named},
    }
    return rule.model_copy(update=update)


def between(
    terrain: Terrain, safer: Option, bolder: Option, prices: Prices, rule: ExpectedCostRule, foresight: Foresight
) -> Iterator[Option]:
    """Options on the way from one to a bolder one, where they lie far apart in coverage: see `search.between`."""
    ground = within(terrain, bolder.structure)
    looking = ground if bolder.ways is None else replace(ground, ahead=ahead_of(ground, bolder.ways, foresight))
    for mixed in search.between(terrain, safer, bolder, prices):
        begun = _begun(rule, bolder.structure, prices, mixed.rule, ground)
        yield replace(option(looking, bolder.structure, begun, prices), ways=bolder.ways)


def _ways(
    terrain: Terrain,
    structure: Structure,
    rule: ExpectedCostRule,
    foresight: Foresight,
    reach: Mapping[Round, Bools],
) -> Ways:
    """What each way on comes to, where the rule is followed from there, by those who get to its stage under it."""
    values: dict[_Place, Array] = {}
    rounds = [key for key in terrain.rounds if key[0] in structure.ladder]
    for key in reversed(rounds):
        for tier in reversed(range(len(terrain.rounds[key]))):
            values[key, tier] = _value(terrain, rule, values, key, tier)
    learned = {}
    for key in rounds:
        for tier, now in enumerate(terrain.rounds[key]):
            if ways := dict(_learned(terrain, structure, rule, foresight, reach, values, key, tier)):
                learned[now.column.stage.key] = ways
    return Ways(wrong=rule.wrong, abstain=rule.abstain, stages=learned)


def _learned(
    terrain: Terrain,
    structure: Structure,
    rule: ExpectedCostRule,
    foresight: Foresight,
    reach: Mapping[Round, Bools],
    values: Mapping[_Place, Array],
    key: Round,
    tier: int,
) -> Iterator[tuple[str, Way]]:
    tiers = terrain.rounds[key]
    now, here = tiers[tier], tiers[tier].column
    left = here.there & ~(now.sure & (now.p >= rule.threshold(here.stage)))
    come = reach[key] & left
    if int(come.sum()) < ENOUGH:
        come = left
    if tier + 1 < len(tiers):
        some = come & here.answerable & tiers[tier + 1].column.there
        if some.any():
            cost = _curve(now.foretelling[some], values[key, tier + 1][some], terrain.weights[some])
            yield Action.GATHER.value, Way(cost=cost)
    for name, model in foresight.models.get(here.stage.key, {}).items():
        action, target = way_of(name)
        to = opened(structure.ladder, key, action, target)
        if to is None or (to, 0) not in values or action not in structure.otherwise or not come.any():
            continue
        first = terrain.rounds[to][0].column
        nowhere = rule.wrong * terrain.unseen(first.stage) + rule.abstain * ~terrain.unseen(first.stage)
        paid = np.where(first.there, values[to, 0], nowhere)
        p = foresight.unseen[here.stage.key][name]
        yield name, Way(success=model, cost=_curve(p[come], paid[come], terrain.weights[come]))


def _curve(p: Array, cost: Array, weights: Array) -> tuple[tuple[float, float], ...]:
    """Cost by probability of success: the mean of groups of like p, made to decrease (pool adjacent violators)."""
    order = np.argsort(p, kind="stable")
    groups = np.array_split(order, max(1, min(_KNOTS, len(p) // _A_KNOT)))
    blocks: list[list[float]] = []  # weight, p, cost
    for rows in groups:
        total = float(weights[rows].sum())
        block = [total, float(weights[rows] @ p[rows]) / total, float(weights[rows] @ cost[rows]) / total]
        blocks.append(block)
        while len(blocks) > 1 and blocks[-2][2] <= blocks[-1][2]:
            last, before = blocks.pop(), blocks.pop()
            both = last[0] + before[0]
            blocks.append(
                [both, *((last[0] * a + before[0] * b) / both for a, b in zip(last[1:], before[1:], strict=True))]
            )
    return tuple((round(at, _PLACES), round(paid, 9)) for _, at, paid in blocks)


def ahead_of(terrain: Terrain, ways: Ways, foresight: Foresight) -> dict[str, dict[str, Array]]:
    """What the ways on are expected to cost each question, by models that had not seen it."""
    return expected_costs(terrain, ways, lambda stage, name, _: foresight.unseen[stage][name])


def _value(
    terrain: Terrain,
    rule: ExpectedCostRule,
    further: Mapping[_Place, Array],
    key: Round,
    tier: int,
) -> Array:
    """What each question costs from coming to this stage on, by what was right: [n]."""
    now = terrain.rounds[key][tier]
    value = now.column.costs["money"].copy()
    wrong = ~(now.column.correct == 1.0)
    for going in decided(terrain, rule, key, tier, now.column.there, np.zeros(terrain.n, np.bool_)):
        if going.action is Action.ANSWER:
            value[going.chosen] += rule.wrong * wrong[going.chosen]
        elif going.action is Action.ABSTAIN:
            value[going.chosen] += rule.abstain
        else:
            behind = further[(key, tier + 1) if going.to is None else (going.to, 0)]
            value[going.taken] += behind[going.taken]
            value[going.chosen & ~going.taken] += rule.wrong
    return value
