"""The search for the rule of least expected cost: what it learns of the ways on, and what that is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.rules import ExpectedCostRule
from gate.tuning import expected_cost, search
from gate.tuning.expected_cost import best, between
from gate.tuning.fitting import Fitted, confidences, fit_table
from gate.tuning.foresight import Foresight, foresee
from gate.tuning.search import Option, Prices, Structure
from gate.tuning.table import Table
from gate.tuning.walk import Terrain, walk
from gate.types import Action, Stage
from tests.tuning.small_worlds import LADDER
from tests.tuning.terrains import confident, table_of, terrain

RETRIEVE, ESCALATE = Action.RETRIEVE, Action.ESCALATE
BOUNDS = {"told": (0.0, 1.0)}
RULE = ExpectedCostRule(wrong=1.0, abstain=0.1)
BOTH = Structure(LADDER[:2], (RETRIEVE, ESCALATE))


def learned(n: int, ladder: tuple[str, ...] = LADDER[:2], seed: int = 5) -> tuple[Terrain, Foresight, Fitted, Table]:
    """A terrain to choose on, what is foretold of it, and as many fresh questions as table and fitted calibrator."""
    rng = np.random.default_rng(seed)
    table = table_of(terrain(rng, 2 * n, ladder, passages=True, tiers=2))
    fit, fresh = table.where(np.arange(n)), table.where(np.arange(n, 2 * n))
    fitted = fit_table(fit, BOUNDS)
    return Terrain.of(fit, fitted.unseen, ladder, 2), foresee(fit, fitted, BOUNDS), fitted, fresh


def judged(option: Option, fit: Fitted, fresh: Table, prices: Prices) -> float:
    """What an option costs a question it was not chosen on."""
    known = confidences(fit.stages, fresh)
    ground = Terrain.of(fresh, known, option.structure.ladder, 2).looking_ahead(fresh, option.ways)
    return search.option(ground, option.structure, option.rule, prices).expected_cost


@pytest.fixture(scope="module")
def made() -> tuple[Terrain, Foresight, Fitted, Table]:
    return learned(1500)


@pytest.mark.parametrize("wrong", [0.15, 0.5, 3.0])
def test_it_costs_no_more_than_going_ways_in_order(
    made: tuple[Terrain, Foresight, Fitted, Table], wrong: float
) -> None:
    """On the questions it was chosen on never, and on new ones hardly ever."""
    ground, foresight, fit, fresh = made
    prices = Prices(wrong, 0.1)
    by_cost, by_order = best(ground, BOTH, prices, RULE, foresight), search.best(ground, BOTH, prices)
    assert by_cost.expected_cost <= by_order.expected_cost + 1e-12
    assert judged(by_cost, fit, fresh, prices) < 1.03 * judged(by_order, fit, fresh, prices)


def test_what_no_way_would_mend_is_given_up_at_once() -> None:
    """Half of the questions nobody can answer, and a signal tells: no order of ways sees that, all are gone in vain."""
    rng, n = np.random.default_rng(2), 3000
    able, money = (np.arange(n) % 2).astype(np.float64), np.full(n, 0.03)
    p = np.where(able > 0, 0.95, 0.05)
    unsure = confident(Stage("small"), 0.3 + 0.1 * able, (rng.random(n) < 0.3) * 1.0, np.full(n, 0.001))
    reading = confident(Stage("small", True), p, able, money)
    middle = confident(Stage("middle"), p, able, money)
    rounds = {("small", False): (unsure,), ("small", True): (reading,), ("middle", False): (middle,)}
    ground = Terrain(n, rounds, LADDER[:2], True, np.ones(n))
    table = table_of(ground)
    foresight = foresee(table, fit_table(table, BOUNDS), BOUNDS)
    prices, shapes = Prices(1.0, 0.2), (BOTH, replace(BOTH, otherwise=(ESCALATE, RETRIEVE)))
    by_order = min(search.best(ground, shape, prices).money for shape in shapes)
    found = best(ground, BOTH, prices, RULE, foresight)
    assert found.ways is not None
    assert (found.coverage, found.risk) == pytest.approx((0.5, 0.0))
    assert found.money == pytest.approx(0.016)  # one way for half of them
    assert by_order == pytest.approx(0.031)


def test_a_dearer_mistake_never_lets_more_through(made: tuple[Terrain, Foresight, Fitted, Table]) -> None:
    ground, foresight, _, _ = made
    found = [best(ground, BOTH, Prices(wrong, 0.1), RULE, foresight) for wrong in (0.11, 0.3, 1.0, 5.0, 30.0)]
    risks = [option.risk for option in found]
    assert risks == sorted(risks, reverse=True)
    assert risks[0] > risks[-1]
    assert [wrong_of(option) for option in found] == [0.11, 0.3, 1.0, 5.0, 30.0]


def wrong_of(option: Option) -> float:
    assert isinstance(option.rule, ExpectedCostRule)
    return option.rule.wrong


def test_a_rung_that_is_worth_nothing_is_skipped() -> None:
    """Three upstreams, the middle of which is never right: whoever is not sure goes to the last."""
    ground, foresight, _, _ = learned(600, LADDER, seed=8)
    useless = {
        key: tuple(
            replace(tier, column=replace(tier.column, correct=tier.column.correct * 0), p=tier.p * 0) for tier in tiers
        )
        for key, tiers in ground.rounds.items()
        if key[0] == "middle"
    }
    known = {
        key: {name: p * 0.01 if name == "escalate:middle" else p for name, p in ways.items()}
        for key, ways in foresight.unseen.items()
    }
    ground = replace(ground, rounds={**ground.rounds, **useless})
    shape = Structure(LADDER, (ESCALATE,))
    found = best(ground, shape, Prices(10.0, 1.0), RULE, replace(foresight, unseen=known))
    assert found.ways is not None
    ahead = expected_cost.ahead_of(ground, found.ways, replace(foresight, unseen=known))["small/closed_book/tier0"]
    assert (ahead["escalate:large"] <= ahead["escalate:middle"]).mean() > 0.8
    found_ = walk(
        replace(ground, ahead=expected_cost.ahead_of(ground, found.ways, replace(foresight, unseen=known))), found.rule
    )
    entered = {key: int(some.sum()) for key, some in found_.entered.items()}
    assert entered["large", False] > 5 * entered["middle", False]


def test_more_evidence_is_bought_where_it_tells_something() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(2000)
    right = (rng.random(2000) < p).astype(np.float64)
    first = confident(Stage("a"), p, right, np.full(2000, 0.001))
    second = confident(Stage("a", tier=1), p, right, np.full(2000, 0.01))
    ground = Terrain(2000, {("a", False): (first, second)}, ("a",), True, np.ones(2000))
    nothing = best(ground, Structure(("a",), ()), Prices(1.0, 0.1), RULE, Foresight())
    assert nothing.money < 0.0012  # a hundredth of what it would cost to buy it for all
    told = confident(Stage("a", tier=1), right * 0.98 + 0.01, right, np.full(2000, 0.01))
    ground = replace(ground, rounds={("a", False): (first, told)})
    assert best(ground, Structure(("a",), ()), Prices(1.0, 0.1), RULE, Foresight()).money > 0.005


def test_floors_are_kept_to(made: tuple[Terrain, Foresight, Fitted, Table]) -> None:
    ground, foresight, _, _ = made
    tuned_before = {"answer_at_in": {"small/closed_book": 1.0}}
    floored = RULE.model_copy(update={"closed_book_at": 0.9, "answer_at": 0.7, **tuned_before})
    found = best(ground, BOTH, Prices(0.12, 0.1), floored, foresight)
    for name in BOTH.ladder:
        assert found.rule.threshold(Stage(name)) >= 0.9
        assert found.rule.threshold(Stage(name, True)) >= 0.7
    assert found.rule.threshold(Stage("small")) < 1.0, "what tuning found before is no floor"


def test_policies_between_two_lie_between_them(made: tuple[Terrain, Foresight, Fitted, Table]) -> None:
    ground, foresight, _, _ = made
    safer, bolder = (best(ground, BOTH, Prices(wrong, 0.1), RULE, foresight) for wrong in (20.0, 0.3))
    found = list(between(ground, safer, bolder, Prices(0.3, 0.1), RULE, foresight))
    assert len(found) == int((bolder.coverage - safer.coverage) / search.APART) > 2
    assert {wrong_of(option) for option in found} == {0.3}
    assert all(option.ways == bolder.ways for option in found)
    risks = [option.risk for option in found]
    assert risks[0] < risks[-1] <= bolder.risk + 0.01


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 9)), min_size=1, max_size=400),
)
def test_a_curve_falls_and_keeps_the_mean(rows: list[tuple[float, float, float]]) -> None:
    p, cost, weights = np.array(rows).T
    knots = expected_cost._curve(p, cost, weights)
    x, y = np.array(knots).T
    assert len(knots) <= expected_cost._KNOTS
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) <= 0).all()
    assert cost.min() - 1e-6 <= y.min() <= y.max() <= cost.max() + 1e-6


def test_a_curve_of_a_line_is_that_line() -> None:
    p = np.linspace(0, 1, 800)
    found = np.array(expected_cost._curve(p, 1 - p, np.ones(800)))
    assert np.allclose(found[:, 1], 1 - found[:, 0], atol=1e-6)
    assert len(found) == expected_cost._KNOTS
