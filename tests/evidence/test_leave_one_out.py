"""Leave one out: which prompts are asked, within which budget, and what becomes of failures and twins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.effects import Generate
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence import LeaveOneOut, LeaveOneOutSource
from gate.ports import Profile, Round
from gate.types import Message, Question
from tests.evidence.asking_again import PROMPT, gathered, reading
from tests.scripted import Answer, Scripted


def reader(effect: Generate, place: int) -> Answer:
    """Knows what it can read: Nigeria where the first passage is in the prompt."""
    return "Nigeria" if "alpha" in effect.messages[-1].content else "Peru"


def left_out(round_: Round, source: LeaveOneOutSource | None = None) -> tuple[LeaveOneOut, list[str]]:
    """The fact, and the passages of each prompt that was asked."""
    small = Scripted("small", reader)
    fact = gathered(source or LeaveOneOutSource(), round_, small)
    assert isinstance(fact, LeaveOneOut)
    assert fact.cost.calls == len(small.asked)
    return fact, sorted(e.messages[-1].content.split("\nAsk")[0].removeprefix("Read:\n") for e in small.asked)


def test_each_passage_is_left_out_once_and_the_others_stay() -> None:
    fact, asked = left_out(reading("alpha", "beta", "gamma"))
    assert asked == ["alpha\nbeta", "alpha\ngamma", "beta\ngamma"]
    assert [answer.text for answer in fact.answers] == ["Peru", "Nigeria", "Nigeria"]
    assert fact.meanings == (1, 0, 0)


def test_the_prompt_is_the_rounds_and_its_settings_are_greedy() -> None:
    small = Scripted("small", reader)
    question = Question((Message("system", "Be brief."), Message("user", "Where?"), Message("assistant", "Well")))
    gathered(LeaveOneOutSource(alternatives=3), reading("alpha", "beta", question=question, tokens_left=60), small)
    for asked in small.asked:
        assert asked.messages[0] == Message("system", "Be brief.")
        assert asked.messages[1].content in {f"Read:\n{kept}\nAsk: Where?" for kept in ("alpha", "beta")}
        assert asked.messages[2] == Message("assistant", "Well")
        assert (asked.n, asked.temperature, asked.logprobs, asked.cap) == (1, 0.0, 3, 30)


def test_messages_that_hold_more_than_text_keep_it() -> None:
    wire = {"role": "user", "content": "Where?", "name": "ann"}
    small = Scripted("small", reader)
    question = Question((Message("user", "Where?", wire),))
    gathered(LeaveOneOutSource(), reading("alpha", "beta", question=question), small)
    assert all((e.messages[0].wire or {})["name"] == "ann" for e in small.asked)


def test_no_more_passages_are_left_out_than_the_policy_and_the_budget_allow() -> None:
    texts = ("alpha", "beta", "gamma", "delta")
    _, asked = left_out(reading(*texts), LeaveOneOutSource(most=2))
    assert asked == ["alpha\ngamma\ndelta", "beta\ngamma\ndelta"]
    fact, asked = left_out(reading(*texts, calls_left=3))
    assert len(asked) == len(fact.answers) == 3
    assert "alpha\nbeta\ngamma" not in asked


def test_passages_with_the_same_text_are_asked_about_once() -> None:
    fact, asked = left_out(reading("alpha", "beta", "alpha"))
    assert asked == ["alpha\nalpha", "alpha\nbeta", "beta\nalpha"]
    fact, asked = left_out(reading("alpha", "alpha"))
    assert asked == ["alpha"]
    assert fact.meanings == (0, 0)
    fact, asked = left_out(reading("beta", "alpha", "alpha", calls_left=2))
    assert asked == ["alpha\nalpha", "beta\nalpha"]
    assert len(fact.answers) == 3


def test_the_answers_that_could_be_had_are_kept() -> None:
    def failing(effect: Generate, place: int) -> Answer:
        return UpstreamError("small", "is down") if "beta" not in effect.messages[-1].content else "Nigeria"

    fact = gathered(LeaveOneOutSource(), reading("alpha", "beta", "gamma"), Scripted("small", failing))
    assert isinstance(fact, LeaveOneOut)
    assert (fact.meanings, fact.cost.calls) == ((0, 0), 3)


def test_when_none_could_be_had_the_reason_and_the_cost_are_told() -> None:
    down = Scripted("small", lambda effect, place: UpstreamError("small", "is down"))
    with pytest.raises(EvidenceUnavailable, match="is down") as raised:
        gathered(LeaveOneOutSource(), reading("alpha", "beta"), down)
    assert raised.value.cost is not None
    assert raised.value.cost.calls == 2


@pytest.mark.parametrize(
    "round_", [reading(), reading("alpha"), replace(reading("alpha", "beta"), prompt=None)], ids=["0", "1", "unquoted"]
)
def test_with_fewer_than_two_passages_there_is_nothing_to_leave_out(round_: Round) -> None:
    with pytest.raises(EvidenceUnavailable, match="fewer than two passages"):
        gathered(LeaveOneOutSource(), round_, Scripted("small", reader))


def test_a_chain_of_alike_answers_is_one_meaning() -> None:
    said = iter(["Nigeriax", "Nigeriaxy"])
    small = Scripted("small", lambda effect, place: next(said))
    source = LeaveOneOutSource(judge="lexical", similarity=90)
    fact = gathered(source, reading("alpha", "beta"), small)
    assert isinstance(fact, LeaveOneOut)
    assert fact.meanings == (0, 0)


def test_it_needs_two_calls_whatever_the_upstream_can_do() -> None:
    assert {LeaveOneOutSource(most=9).calls(Profile(n=n)) for n in (1, 8)} == {2}
    assert PROMPT.variables == {"passages", "question"}
