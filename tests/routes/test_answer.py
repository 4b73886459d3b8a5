"""The answer route gives the draft back untouched."""

from __future__ import annotations

import dataclasses

import pytest

from gate.errors import EvidenceUnavailable
from gate.evidence.draft import Draft
from gate.ports import Ending, Evidence, Profile, Round
from gate.routes import AnswerRoute
from gate.types import Action, Cost, Decision, Generation, Passage, Question, TokenLogprob, ToolCall

QUESTION = Question.from_text("Where is Lagos?")
ROUND = Round(0, QUESTION, "small", Profile(), QUESTION.messages)
DECISION = Decision(Action.ANSWER, "confident", ROUND.stage(0))


def followed(evidence: Evidence, round_: Round = ROUND) -> object:
    flow = AnswerRoute().follow(round_, evidence, DECISION)
    with pytest.raises(StopIteration) as stopped:
        next(flow)
    return stopped.value.value


def test_the_draft_is_the_answer_with_its_tokens_and_tool_calls() -> None:
    said = Generation(
        "  Nigeria\n", "length", (TokenLogprob("Nigeria", -0.1),), (ToolCall("1", "look_up", '{"city": "Lagos"}'),)
    )
    ending = followed(Evidence().having(Draft(Cost(calls=1), said, "m")))
    assert isinstance(ending, Ending)
    assert ending.text == "  Nigeria\n"
    assert ending.generation is said


def test_the_passages_it_was_answered_from_go_with_it_and_those_that_bear_it_are_named() -> None:
    found = (Passage("lagos", "Lagos is a city in Nigeria."), Passage("paris", "Paris is in France."))
    round_ = dataclasses.replace(ROUND, passages=found)
    ending = followed(Evidence().having(Draft(Cost(), Generation("Nigeria"), "m")), round_)
    assert isinstance(ending, Ending)
    assert (ending.passages, ending.cited) == (found, ("lagos",))


def test_without_a_draft_there_is_nothing_to_give() -> None:
    with pytest.raises(EvidenceUnavailable, match="there is no draft"):
        next(AnswerRoute().follow(ROUND, Evidence(), DECISION))


def test_it_is_always_open() -> None:
    assert AnswerRoute().open(ROUND)
