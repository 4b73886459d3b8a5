"""The threshold rule: when it answers, what it tries otherwise, and what no rule may do."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.ports import Rule
from gate.rules import RULES, ExpectedCostRule, ThresholdRule
from gate.types import Action, Confidence, Stage

STAGE = Stage("small", passages=True, tier=1)
WAYS = (Action.GATHER, Action.RETRIEVE, Action.ESCALATE)
OPEN = st.frozensets(st.sampled_from(WAYS))
P = st.floats(0, 1)


def sure(p: float, *, outside: bool = False) -> Confidence:
    return Confidence(p, max(0.0, p - 0.1), min(1.0, p + 0.1), out_of_distribution=outside)


def chosen(rule: Rule, p: float, *ways: Action, outside: bool = False) -> tuple[Action, str]:
    decision = rule.decide(sure(p, outside=outside), STAGE, frozenset(ways))
    return decision.action, decision.reason


RULE = ThresholdRule(answer_at=0.8, gather_above=0.3)


@pytest.mark.parametrize(
    ("p", "action", "reason"),
    [
        (1.0, Action.ANSWER, "confident"),
        (0.8, Action.ANSWER, "confident"),
        (math.nextafter(0.8, 0), Action.GATHER, "uncertain"),
        (0.3, Action.GATHER, "uncertain"),
        (math.nextafter(0.3, 0), Action.RETRIEVE, "uncertain"),
        (0.0, Action.RETRIEVE, "uncertain"),
    ],
)
def test_each_edge_belongs_to_the_side_above_it(p: float, action: Action, reason: str) -> None:
    assert chosen(RULE, p, *WAYS) == (action, reason)


def test_the_decision_says_what_was_held_against_what() -> None:
    confidence = sure(0.5)
    decision = RULE.decide(confidence, STAGE, frozenset())
    assert (decision.confidence, decision.threshold, decision.stage) == (confidence, 0.8, STAGE)
    assert (decision.action, decision.detail) == (Action.ABSTAIN, "")


@pytest.mark.parametrize("order", list(permutations((Action.RETRIEVE, Action.ESCALATE))))
def test_the_first_open_way_of_the_list_is_taken(order: tuple[Action, ...]) -> None:
    rule = ThresholdRule.model_validate({"answer_at": 0.8, "gather_above": 0.8, "otherwise": order})
    assert chosen(rule, 0.5, *WAYS) == (order[0], "uncertain")
    assert chosen(rule, 0.5, order[1]) == (order[1], "uncertain")
    assert chosen(rule, 0.5) == (Action.ABSTAIN, "uncertain")


def test_a_way_that_is_not_listed_is_not_taken() -> None:
    assert chosen(ThresholdRule(answer_at=0.8, gather_above=1, otherwise=()), 0.5, *WAYS)[0] is Action.ABSTAIN


def test_an_answer_outside_the_range_known_is_looked_into_but_never_let_through() -> None:
    assert chosen(RULE, 0.99, *WAYS, outside=True) == (Action.GATHER, "out_of_distribution")
    assert chosen(RULE, 0.99, Action.ESCALATE, outside=True) == (Action.ESCALATE, "out_of_distribution")
    assert chosen(RULE, 0.99, outside=True) == (Action.ABSTAIN, "out_of_distribution")


@pytest.mark.parametrize(
    "settings",
    [
        {"answer_at": 1.1},
        {"answer_at": -0.1},
        {"answer_at": math.nan},
        {"answer_at": 0.5, "gather_above": 2},
        {"answer_at": 0.5, "otherwise": ["answer"]},
        {"answer_at": 0.5, "otherwise": ["gather"]},
        {"answer_at": 0.5, "kind": "majority"},
        {"answer_at": 0.5, "thresold": 0.5},
        {"answer_at": 0.5, "answer_at_in": {"small/closed_book": 1.1}},
        {"answer_at": 0.5, "answer_at_in": {"small/closed_book": math.nan}},
        {"answer_at": 0.5, "answer_at_in": {"small/closed_book": None}},
        {"answer_at": 0.5, "answer_at_in": [0.5]},
        {},
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ThresholdRule.model_validate(settings)


MAKE: dict[type, Callable[[float], Rule]] = {
    ThresholdRule: lambda at: ThresholdRule(answer_at=at, gather_above=0.2),
    ExpectedCostRule: lambda at: ExpectedCostRule(answer_at=at, wrong=1, abstain=1),
}
each = pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.__name__)


def test_every_registered_rule_is_made_here_and_has_a_kind_of_its_own() -> None:
    assert set(MAKE) == set(RULES)
    assert len({MAKE[kind](0.5).kind for kind in RULES}) == len(RULES)  # type: ignore[attr-defined]


@each
@given(at=P, p=P, ways=OPEN, outside=st.booleans())
def test_a_rule_takes_only_what_is_open_and_carries_what_it_judged(
    kind: type, at: float, p: float, ways: frozenset[Action], outside: bool
) -> None:
    rule, confidence = MAKE[kind](at), sure(p, outside=outside)
    decision = rule.decide(confidence, STAGE, ways)
    assert decision.action in ways | {Action.ANSWER, Action.ABSTAIN}
    assert decision.action is not Action.ANSWER or not outside
    assert decision.reason.replace("_", "").isalpha()
    assert (decision.confidence, decision.stage) == (confidence, STAGE)
    assert rule.decide(confidence, STAGE, ways) == decision


@each
@given(at=P, one=P, other=P, ways=OPEN)
def test_more_confidence_never_takes_an_answer_away(
    kind: type, at: float, one: float, other: float, ways: frozenset[Action]
) -> None:
    low, high = (MAKE[kind](at).decide(sure(p), STAGE, ways).action for p in sorted((one, other)))
    assert low is not Action.ANSWER or high is Action.ANSWER


@each
@given(p=P, one=P, other=P)
def test_a_higher_threshold_never_lets_more_through(kind: type, p: float, one: float, other: float) -> None:
    low, high = (MAKE[kind](at).decide(sure(p), STAGE, frozenset()).action for at in sorted((one, other)))
    assert high is not Action.ANSWER or low is Action.ANSWER


@each
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_what_is_no_number_is_never_let_through(kind: type, at: float) -> None:
    confidence = Confidence(math.nan, math.nan, math.nan)
    assert MAKE[kind](at).decide(confidence, STAGE, frozenset()).action is Action.ABSTAIN


@pytest.mark.parametrize(
    ("closed_book_at", "passages", "p", "action"),
    [
        (None, False, 0.85, Action.ANSWER),
        (0.9, False, 0.85, Action.GATHER),
        (0.9, False, 0.9, Action.ANSWER),
        (0.9, True, 0.85, Action.ANSWER),
        (1.0, False, 0.999, Action.RETRIEVE),  # no evidence would do: none is bought
        (1.0, True, 0.85, Action.ANSWER),
        (0.5, False, 0.6, Action.ANSWER),
    ],
)
def test_memory_alone_may_be_held_to_another_threshold(
    closed_book_at: float | None, passages: bool, p: float, action: Action
) -> None:
    rule = ThresholdRule(answer_at=0.8, closed_book_at=closed_book_at)
    decision = rule.decide(Confidence(p, p, p), Stage("small", passages), frozenset({Action.GATHER, Action.RETRIEVE}))
    assert decision.action is action
    assert decision.threshold == (0.8 if passages or closed_book_at is None else closed_book_at)


def test_a_round_that_nothing_can_satisfy_buys_no_more_evidence() -> None:
    rule = ThresholdRule(answer_at=0.5, answer_at_in={"small/with_passages": 1.0})
    ways = frozenset({Action.GATHER, Action.ESCALATE})
    assert rule.decide(sure(0.99), STAGE, ways).action is Action.ESCALATE
    assert rule.decide(sure(1.0), STAGE, ways).action is Action.ANSWER


def test_a_rule_is_the_same_after_a_file() -> None:
    rule = ThresholdRule(answer_at=0.87, answer_at_in={"small/closed_book": 1e-6}, otherwise=(Action.ESCALATE,))
    assert ThresholdRule.model_validate_json(rule.model_dump_json()) == rule


def test_an_ambiguous_question_is_asked_back_before_anything_is_bought_and_never_instead_of_a_sure_answer() -> None:
    ways = (*WAYS, Action.CLARIFY)
    assert chosen(RULE, 0.5, *ways) == (Action.CLARIFY, "ambiguous")
    assert chosen(RULE, 0.9, *ways, outside=True) == (Action.CLARIFY, "ambiguous")
    assert chosen(RULE, 0.9, *ways) == (Action.ANSWER, "confident")
