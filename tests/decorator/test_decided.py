"""What comes of an answer, as Python code sees it: true or false, short to look at, and the same in another process."""

from __future__ import annotations

import json
import pickle

import pytest

from gate.decorator.decided import Abstained, Decided
from gate.errors import AnswerWithheld
from gate.traces import TraceRecord
from gate.types import Action, Confidence, Cost, Decision, Outcome, SignalVector, Stage, Step

P = Confidence(0.61234, 0.5, 0.7)


def made(action: Action = Action.ABSTAIN, *, confidence: Confidence | None = P) -> tuple[Outcome, TraceRecord]:
    step = Step(Decision(action, "uncertain", Stage("small"), confidence, 0.8), SignalVector(()), Cost(1, 7, 2))
    outcome = Outcome(action, "I am not sure.", (step,), step.cost)
    return outcome, TraceRecord("feed", "now", "mine", "abc", True, (step,), outcome=outcome, action=action)


def test_an_abstention_is_false_and_says_what_may_be_said() -> None:
    abstained = Abstained(*made())
    assert not abstained
    assert (str(abstained), abstained.text, abstained.action) == ("I am not sure.", "I am not sure.", Action.ABSTAIN)
    assert (abstained.reason, abstained.p, abstained.id) == ("uncertain", 0.61234, "feed")
    assert Abstained(*made(Action.CLARIFY)).action is Action.CLARIFY
    assert Abstained(*made(confidence=None)).p is None


def test_what_was_decided_is_at_hand() -> None:
    outcome, trace = made(Action.ANSWER)
    decided = Decided("Nigeria", outcome, trace)
    assert (decided.answered, decided.action, decided.reason, decided.text) == (
        True,
        Action.ANSWER,
        "uncertain",
        outcome.text,
    )
    assert (decided.p, decided.certified, decided.cost, decided.id) == (0.61234, True, Cost(1, 7, 2), "feed")
    assert (decided.confidence, decided.decision) == (P, outcome.steps[-1].decision)
    assert Decided("x", *made(confidence=None)).p is None
    told = json.loads(json.dumps(decided.explain()))
    assert (told["id"], told["action"], told["confidence"]["p"]) == ("feed", "answer", 0.61234)


def test_it_is_short_to_look_at() -> None:
    abstained = Abstained(*made())
    assert repr(abstained) == "Abstained('I am not sure.', reason='uncertain', p=0.6123)"
    assert repr(Decided("Nigeria", *made())) == "Decided('Nigeria', reason='uncertain', p=0.6123, certified=True)"
    assert repr(Decided(abstained, *made(confidence=None))).endswith("reason='uncertain', p=None, certified=True)")


@pytest.mark.parametrize(
    "thing",
    [Abstained(*made()), Decided("Nigeria", *made()), Decided(Abstained(*made()), *made())],
    ids=["a", "d", "b"],
)
def test_it_goes_to_another_process(thing: object) -> None:
    assert pickle.loads(pickle.dumps(thing)) == thing


def test_as_an_exception_it_holds_the_same() -> None:
    error = AnswerWithheld(Abstained(*made()))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.abstained, again.trace) == ("I am not sure.", error.abstained, error.trace)
