"""Counterfactual: what is asked after the draft, and which answers stay."""

from __future__ import annotations

import pytest

from gate.effects import Generate
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence import Counterfactual, CounterfactualSource, Draft
from gate.ports import Evidence
from gate.prompts import load
from gate.types import Cost, Generation, Message, ToolCall
from tests.evidence.asking_again import gathered, reading
from tests.scripted import Answer, Scripted

ROUND = reading("Lagos is a city in Nigeria.", tokens_left=80)


def supposing(use: Answer, quality: Answer) -> tuple[Counterfactual, Scripted]:
    def answers(effect: Generate, place: int) -> Answer:
        return use if effect.messages[-1].content == load("counterfactual_use").render() else quality

    small = Scripted("small", answers)
    fact = gathered(CounterfactualSource(), ROUND, small)
    assert isinstance(fact, Counterfactual)
    return fact, small


def test_both_suppositions_are_a_second_turn_after_the_draft() -> None:
    fact, small = supposing("Nigeria.", "Peru")
    assert (fact.use, fact.quality, fact.cost.calls) == (True, False, 2)
    for asked in small.asked:
        assert asked.messages[:-2] == ROUND.messages
        assert asked.messages[-2] == Message("assistant", "Nigeria")
        assert (asked.n, asked.temperature, asked.cap) == (1, 0.0, 40)
    assert {asked.messages[-1].content for asked in small.asked} == {
        load("counterfactual_use").render(),
        load("counterfactual_quality").render(),
    }


@pytest.mark.parametrize("gone", [UpstreamError("small", "is down"), ""])
def test_one_answer_that_cannot_be_had_leaves_the_other(gone: Answer) -> None:
    fact, _ = supposing(gone, "Nigeria")
    assert (fact.use, fact.quality) == (None, True)
    with pytest.raises(EvidenceUnavailable, match="no second answer could be had"):
        supposing(gone, gone)


@pytest.mark.parametrize(
    ("draft", "passages", "why"),
    [
        (Generation("", refusal="no"), ("x",), "says nothing"),
        (Generation("", tool_calls=(ToolCall("1", "f", "{}"),)), ("x",), "calls a tool"),
        (Generation("Nigeria"), (), "no passage is in the prompt"),
    ],
)
def test_what_cannot_be_doubted_is_not_asked_about(draft: Generation, passages: tuple[str, ...], why: str) -> None:
    small = Scripted("small", lambda effect, place: "x")
    with pytest.raises(EvidenceUnavailable, match=why):
        gathered(
            CounterfactualSource(), reading(*passages), small, evidence=Evidence().having(Draft(Cost(), draft, "small"))
        )
    assert small.asked == []
