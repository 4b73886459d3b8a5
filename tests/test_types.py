"""The nouns: how costs add up, what a question's text is, and that nothing can be changed once made."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import types
from gate.types import (
    Action,
    Cost,
    Decision,
    Message,
    Outcome,
    Question,
    Reading,
    SignalVector,
    Stage,
    Step,
)

COUNTS = st.integers(0, 10**9)
COSTS = st.builds(Cost, COUNTS, COUNTS, COUNTS, COUNTS.map(float), COUNTS.map(float))
NOUNS = [kind for kind in vars(types).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)]


def test_one_after_the_other_everything_adds_up() -> None:
    both = Cost(1, 10, 5, 0.5, 0.25) + Cost(2, 20, 7, 1.5, 0.5)
    assert both == Cost(calls=3, prompt_tokens=30, completion_tokens=12, seconds=2.0, money=0.75)
    assert both.tokens == 42


def test_side_by_side_only_the_slowest_takes_time() -> None:
    costs = [Cost(1, 10, 5, 0.5, 0.25), Cost(2, 20, 7, 1.5, 0.5), Cost()]
    assert Cost.together(iter(costs)) == Cost(3, 30, 12, seconds=1.5, money=0.75)
    assert Cost.together([]) == Cost()


@given(COSTS, COSTS, COSTS)
def test_costs_add_in_any_order_and_nothing_is_free_of_charge(a: Cost, b: Cost, c: Cost) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Cost() == a
    assert sum((a, b, c), Cost()) == a + b + c


@given(st.lists(COSTS, max_size=5))
def test_side_by_side_is_one_after_the_other_but_for_the_time(costs: list[Cost]) -> None:
    beside, after = Cost.together(costs), sum(costs, Cost())
    assert dataclasses.replace(beside, seconds=after.seconds) == after
    assert beside.seconds == max([c.seconds for c in costs], default=0.0) <= after.seconds
    assert Cost.together(reversed(costs)) == beside


@pytest.mark.parametrize(("value", "missing"), [(None, None), (0.0, ""), (0.5, "no log-probabilities")])
def test_a_reading_has_a_value_or_a_reason_and_never_both(value: float | None, missing: str | None) -> None:
    with pytest.raises(ValueError, match="'margin' needs a value or a reason"):
        Reading("margin", value, missing)


def test_a_reading_of_nought_is_a_value_and_an_empty_reason_is_a_reason() -> None:
    vector = SignalVector((Reading("margin", 0.0), Reading("vote_share", None, "")))
    assert vector.value("margin") == 0.0
    assert vector.value("vote_share") is None
    assert vector.value("unheard_of") is None


@pytest.mark.parametrize(
    ("turns", "text"),
    [
        ((), ""),
        ((("system", "Be brief."),), ""),
        ((("user", "first"), ("assistant", "said"), ("user", "last"), ("tool", "found")), "last"),
        ((("user", "first"), ("user", "")), ""),
    ],
)
def test_a_questions_text_is_its_last_user_message(turns: tuple[tuple[str, str], ...], text: str) -> None:
    assert Question(tuple(Message(*turn) for turn in turns)).text == text


@given(st.text())
def test_a_question_from_text_is_one_user_message(text: str) -> None:
    question = Question.from_text(text)
    assert question.messages == (Message("user", text),)
    assert (question.text, question.options) == (text, {})


def test_a_stages_key_tells_stages_apart_and_reads_well() -> None:
    stages = [Stage(name, passages, tier) for name in ("a", "b") for passages in (False, True) for tier in (0, 1)]
    assert len({stage.key for stage in stages}) == len(stages)
    assert Stage("small", passages=True, tier=2).key == "small/with_passages/tier2"
    assert Stage("small").key == "small/closed_book/tier0"


def test_an_outcome_speaks_for_its_last_step() -> None:
    steps = tuple(
        Step(Decision(action, "because", Stage("small", tier=tier)), SignalVector(()), Cost())
        for tier, action in enumerate((Action.GATHER, Action.ANSWER))
    )
    outcome = Outcome(Action.ANSWER, "Nigeria", steps, Cost())
    assert outcome.decision is steps[1].decision
    assert outcome.confidence is None
    assert outcome.answered
    assert not Outcome(Action.ABSTAIN, "I do not know.", steps, Cost()).answered


def test_actions_are_their_words() -> None:
    assert {action.value for action in Action} == {"answer", "gather", "retrieve", "escalate", "clarify", "abstain"}
    assert f"{Action.ABSTAIN}" == "abstain"
    assert Action("answer") is Action.ANSWER


@pytest.mark.parametrize("kind", NOUNS, ids=lambda kind: kind.__name__)
def test_every_noun_is_frozen_and_takes_no_other_attributes(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen
    assert not hasattr(object.__new__(kind), "__dict__")


@pytest.mark.parametrize("made", [Cost(), Question.from_text("x"), Stage("small"), Reading("margin", 0.5)], ids=repr)
def test_what_is_made_stays_as_it_is(made: Any) -> None:
    name = dataclasses.fields(made)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, getattr(made, name))


def test_questions_share_no_options() -> None:
    assert Question(()).options is not Question(()).options
