from __future__ import annotations

from dataclasses import replace
from typing import Any

from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from gate.decorator.writers import signed, writer_of
from gate.traces import TapeEntry, TraceRecord
from gate.types import Cost, Generation, Generations, Usage
from tests.answer_shapes.answers import CHAT, outcome_of

SAID = Generation("China")


def entry(said: Generation, model: str, to: str) -> TapeEntry:
    return TapeEntry("k", "generate", Cost(), Generations((said,), Usage(), model), to=to)


def test_a_model_is_told_by_the_reply_that_the_answer_came_in() -> None:
    outcome = replace(outcome_of("China"), generation=SAID, upstream="large")
    trace = TraceRecord("1", "", "mine", "", False, outcome.steps, outcome=outcome)
    tape = (entry(Generation("China"), "small-1", "mine"), entry(SAID, "large-1", "large"))
    assert writer_of(outcome, replace(trace, tape=tape)) == "large-1"
    assert writer_of(outcome, replace(trace, tape=tape[:1])) == "large", "nobody told its model"
    other = replace(outcome, generation=Generation("In China."))  # written over
    assert writer_of(other, replace(trace, tape=tape)) == "large-1"
    assert writer_of(replace(outcome, upstream=""), trace) == ""


def test_an_answer_that_names_its_model_names_that_one() -> None:
    reply = ChatCompletion.model_validate(CHAT)
    assert signed(reply, "large-1").model == "large-1"
    assert reply.model == CHAT["model"]
    assert signed((reply, "China"), "large-1")[0].model == "large-1"
    assert signed(CHAT, "large-1")["model"] == "large-1"
    assert signed(reply, "") is reply


def test_what_names_none_stays_as_it_is() -> None:
    class Car(BaseModel):
        model: str = "T"

    for answer in ("China", {"model": "T"}, {"choices": []}, Car(), 3):
        same: Any = signed(answer, "large-1")
        assert same is answer
