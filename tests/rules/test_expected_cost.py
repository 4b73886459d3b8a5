"""The rule of least expected cost: what it compares, what it never does, and what it does before it has learned."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.rules import ExpectedCostRule
from gate.types import Action, Confidence, Decision, Prospect, Stage

STAGE = Stage("small")
RULE = ExpectedCostRule(wrong=10.0, abstain=1.0)
WAYS = frozenset({Action.GATHER, Action.RETRIEVE, Action.ESCALATE})
COSTS = st.floats(0, 20)
PROSPECTS = st.lists(
    st.builds(
        Prospect,
        st.sampled_from(sorted(WAYS)),
        st.floats(0, 1),
        COSTS,
        st.sampled_from(["", "large"]),
    ),
    min_size=1,
    max_size=4,
).map(tuple)


def decided(p: float, *prospects: Prospect, rule: ExpectedCostRule = RULE, outside: bool = False) -> Decision:
    confidence = Confidence(p, p, p, out_of_distribution=outside, prospects=prospects)
    return rule.decide(confidence, STAGE, WAYS)


NEVER_WORTH_IT = Prospect(Action.GATHER, 0.5, 99.0)


@pytest.mark.parametrize(
    ("p", "action"),
    [(1.0, Action.ANSWER), (0.9, Action.ANSWER), (math.nextafter(0.9, 0), Action.ABSTAIN), (0.0, Action.ABSTAIN)],
)
def test_without_a_way_worth_its_cost_it_is_the_rule_of_chow(p: float, action: Action) -> None:
    """A wrong answer ten times as dear as an abstention: answer from p = 1 - 1/10 up."""
    assert decided(p, NEVER_WORTH_IT).action is action
    assert decided(p, NEVER_WORTH_IT).threshold == pytest.approx(0.9)


def test_below_the_threshold_the_cheapest_is_taken_and_the_decision_says_what_each_costs() -> None:
    ways = (Prospect(Action.RETRIEVE, 0.7, 0.5), Prospect(Action.ESCALATE, 0.9, 0.4, "large"))
    decision = decided(0.8, *ways)
    assert (decision.action, decision.target, decision.reason) == (Action.ESCALATE, "large", "uncertain")
    assert decision.detail == "expected cost: answer $2, escalate to large $0.4, retrieve $0.5, abstain $1"


def test_more_evidence_is_bought_where_it_is_worth_more_than_it_costs() -> None:
    assert decided(0.8, Prospect(Action.GATHER, 0.8, 0.99)).action is Action.GATHER  # abstaining costs 1
    assert decided(0.8, Prospect(Action.GATHER, 0.8, 1.01)).action is Action.ABSTAIN


def test_of_what_costs_the_same_what_is_nearest_goes_first() -> None:
    assert decided(0.0, Prospect(Action.ESCALATE, 0.1, 1.0), Prospect(Action.GATHER, 0.0, 1.0)).action is Action.GATHER


def test_the_threshold_that_tuning_found_for_a_round_goes_before_that_of_the_prices() -> None:
    tuned = RULE.model_copy(update={"answer_at_in": {STAGE.round_key: 0.5}})
    assert decided(0.5, NEVER_WORTH_IT, rule=tuned).action is Action.ANSWER
    assert (tuned.everywhere, RULE.everywhere) == (None, pytest.approx(0.9))


def test_a_floor_holds_however_cheap_a_mistake_is() -> None:
    cheap = ExpectedCostRule(wrong=1.0, abstain=1.0, answer_at=0.6, answer_at_in={"small/closed_book": 0.1})
    assert decided(0.59, NEVER_WORTH_IT, rule=cheap).action is Action.ABSTAIN
    assert decided(0.6, NEVER_WORTH_IT, rule=cheap).action is Action.ANSWER


def test_a_way_that_the_policy_does_not_list_is_not_gone() -> None:
    rule = RULE.model_copy(update={"otherwise": (Action.RETRIEVE,)})
    assert decided(0.1, Prospect(Action.ESCALATE, 0.9, 0.1), rule=rule).action is Action.ABSTAIN


@given(st.floats(0, 1), PROSPECTS, st.frozensets(st.sampled_from(sorted(WAYS))), st.booleans())
def test_nothing_open_costs_less_than_what_is_taken(
    p: float, prospects: tuple[Prospect, ...], open_actions: frozenset[Action], outside: bool
) -> None:
    confidence = Confidence(p, p, p, out_of_distribution=outside, prospects=prospects)
    decision = RULE.decide(confidence, STAGE, open_actions)
    if p >= 0.9 and not outside:
        assert decision.action is Action.ANSWER
        return
    costs = {Action.ABSTAIN: RULE.abstain}
    for way in prospects:
        if way.action in open_actions:
            costs[way.action] = min(way.cost, costs.get(way.action, math.inf))
    assert costs[decision.action] == min(costs.values())


@given(st.floats(0, 1), PROSPECTS)
def test_what_is_out_of_the_range_known_is_never_let_through(p: float, prospects: tuple[Prospect, ...]) -> None:
    decision = decided(p, *prospects, outside=True)
    assert decision.action is not Action.ANSWER
    assert decision.reason == "out_of_distribution"


@pytest.mark.parametrize(
    ("p", "open_actions", "action"),
    [
        (0.95, WAYS, Action.ANSWER),
        (0.5, WAYS, Action.GATHER),
        (0.5, frozenset({Action.ESCALATE, Action.RETRIEVE}), Action.RETRIEVE),
        (0.5, frozenset({Action.ESCALATE}), Action.ESCALATE),
        (0.5, frozenset(), Action.ABSTAIN),
    ],
)
def test_before_anything_is_learned_ways_are_gone_in_the_order_listed(
    p: float, open_actions: frozenset[Action], action: Action
) -> None:
    assert RULE.decide(Confidence(p, p, p), STAGE, open_actions).action is action


@pytest.mark.parametrize(
    "settings", [{"wrong": 0, "abstain": 1}, {"wrong": 1, "abstain": -1}, {"wrong": 1}, {"wrong": 1, "abstain": 2}]
)
def test_prices_that_are_none_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ExpectedCostRule.model_validate(settings)


def test_an_ambiguous_question_is_asked_back_before_anything_is_bought_and_never_instead_of_a_sure_answer() -> None:
    ways = frozenset({Action.CLARIFY, Action.RETRIEVE})
    for prospects in ((), (Prospect(Action.RETRIEVE, 0.99, 0.1),)):
        unsure = RULE.decide(Confidence(0.5, 0.4, 0.6, prospects=prospects), Stage("small"), ways)
        assert (unsure.action, unsure.reason) == (Action.CLARIFY, "ambiguous")
        sure = RULE.decide(Confidence(1.0, 1.0, 1.0, prospects=prospects), Stage("small"), ways)
        assert sure.action is Action.ANSWER
