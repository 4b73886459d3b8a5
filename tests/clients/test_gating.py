from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from gate.answer_shapes import Read
from gate.clients.gating import Gating
from gate.decorator.decided import Abstained
from gate.decorator.gate import Gate
from gate.errors import AnswerWithheld, ConfigError, UnknownName
from gate.ports import Profile
from gate.traces import TraceRecord
from gate.types import Action, Generation, Outcome, Usage
from tests.answer_shapes.answers import outcome_of
from tests.clients.policies import gateway


def gating(folder: Path, **options: Any) -> Gating:
    return Gating(Gate(gateway(folder, larger="http://127.0.0.1:1/v1")), **options)


def trace(outcome: Outcome) -> TraceRecord:
    return TraceRecord("1", "", "agreeing", "", False, outcome.steps, outcome=outcome)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"written_by": "larg"}, "unknown upstream in the ladder 'larg'; did you mean 'large'"),
        ({"on_abstention": "rais"}, "'on_abstention': 'rais'; did you mean 'raise'"),
        ({"remember": -1}, "0 or more, and not -1"),
        ({"remember": None}, "0 or more, and not None"),
    ],
)
def test_what_cannot_be_is_refused_at_once(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigError, UnknownName), match=said):
        gating(tmp_path, **options)


def test_what_a_server_refuses_is_known_for_its_model(tmp_path: Path) -> None:
    mine = gating(tmp_path)
    assert mine.profile("m") == Profile()
    mine.learn("m", frozenset({"logprobs"}))
    mine.learn("m", frozenset({"n", "seed"}))
    assert mine.profile("m") == Profile(logprobs=False, n=1, seed=False)
    assert mine.profile("other") == Profile()
    assert mine.shared().profile("m") == Profile()
    mine.learn("other", frozenset({"top_logprobs"}))
    assert mine.profile("other").top_logprobs == 0
    for number in range(2000):
        mine.learn(str(number), frozenset({"n"}))
    assert mine.profile("1500").n == 8  # and no more than a thousand


def test_many_threads_learn_at_once(tmp_path: Path) -> None:
    mine = gating(tmp_path)
    threads = [threading.Thread(target=mine.learn, args=("m", frozenset({str(n)}))) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mine.refused("m")) == 50


def test_an_answer_is_given_as_whose_the_caller_says_it_is(tmp_path: Path) -> None:
    read = Read(Generation("China"), usage=Usage(10, 5), model="m-1")
    mine = gating(tmp_path)
    given = mine.given(read, read.generation, mine.paid(read, 2, 0.5), "m", lambda effect: None)
    assert (given.upstream, given.vouched, given.gather, given.model) == ("", False, None, "m-1")
    assert (given.cost.calls, given.cost.tokens, given.cost.money) == (2, 15, pytest.approx(20e-6))
    theirs = gating(tmp_path, written_by="large", gather=False)
    given = theirs.given(read, read.generation, theirs.paid(read, 1, 0.5), "m", lambda effect: None)
    assert (given.upstream, given.vouched, given.gather, given.cost.money) == ("large", True, False, 0.0)


def test_the_last_decisions_are_told(tmp_path: Path) -> None:
    mine = gating(tmp_path, remember=2)
    for text in ("a", "b", "c"):
        outcome = outcome_of(text)
        mine.told(text, [(outcome, trace(outcome))], withhold=True)
    assert [decided.value for decided in mine.decisions] == ["b", "c"]


def test_what_is_withheld_is_an_error_where_that_is_wanted(tmp_path: Path) -> None:
    mine = gating(tmp_path)
    answered = outcome_of("China")
    outcome = Outcome(Action.ABSTAIN, "I am not sure.", answered.steps, answered.cost)
    [decided] = mine.told("reply", [(outcome, trace(outcome))], withhold=False)
    assert isinstance(decided.value, Abstained)
    with pytest.raises(AnswerWithheld, match=r"I am not sure\.") as caught:
        mine.told("reply", [(outcome, trace(outcome))], withhold=True)
    assert caught.value.abstained.outcome is outcome
    assert len(mine.decisions) == 2
    both = [(outcome, trace(outcome)), (answered, trace(answered))]
    assert [each.answered for each in mine.told("reply", both, withhold=True)] == [False, True]  # one did come through
