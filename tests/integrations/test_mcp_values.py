"""What the tools take is read strictly, and what they tell fits the schema that an agent was shown."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import TypeAdapter

from gate.errors import RequestError
from gate.integrations.mcp_values import ASKED, JUDGED, AskArguments, JudgeArguments, asked, judged, plain, read
from gate.traces import TraceRecord
from gate.types import (
    Action,
    Confidence,
    Contribution,
    Cost,
    Decision,
    Outcome,
    Passage,
    Reading,
    SignalVector,
    Stage,
    Step,
)

SURE = Confidence(0.9, 0.8, 0.95, (Contribution("a", 1.5),), base=0.2)


def a_decision(
    action: Action, confidence: Confidence | None = SURE, text: str = "Nigeria"
) -> tuple[Outcome, TraceRecord]:
    decision = Decision(action, "uncertain", Stage("m"), confidence, 0.85, "why")
    vector = SignalVector((Reading("a", 0.5), Reading("b", None, "none was drawn")))
    passages = (Passage("p1", "Lagos is in Nigeria.", title="Lagos", source="l.md"),)
    outcome = Outcome(action, text, (Step(decision, vector, Cost()),), Cost(2, 10, 5, 0.25, 0.001), passages=passages)
    trace = TraceRecord("id1", "", "support", "f", False, outcome.steps, outcome=outcome, action=action)
    return outcome, trace


def test_a_decision_as_ask_tells_it() -> None:
    told = plain(asked(*a_decision(Action.ANSWER)), ASKED)
    assert told == {
        "action": "answer",
        "p": 0.9,
        "low": 0.8,
        "high": 0.95,
        "threshold": 0.85,
        "calibrated": True,
        "reason": "uncertain",
        "detail": "why",
        "certified": False,
        "contributions": {"a": 1.5},
        "missing": {"b": "none was drawn"},
        "policy": "support",
        "id": "id1",
        "calls": 2,
        "tokens": 15,
        "money": 0.001,
        "seconds": 0.25,
        "text": "Nigeria",
        "sources": [{"id": "p1", "title": "Lagos", "source": "l.md", "cited": False}],
    }


@pytest.mark.parametrize("confidence", [SURE, None])
@pytest.mark.parametrize("action", [Action.ANSWER, Action.ABSTAIN, Action.CLARIFY])
def test_what_is_told_fits_its_schema(action: Action, confidence: Confidence | None) -> None:
    decision = a_decision(action, confidence, "half a pair: \ud83d")
    both: tuple[tuple[Any, TypeAdapter[Any]], ...] = ((asked(*decision), ASKED), (judged(*decision), JUDGED))
    for made, adapter in both:
        schema = adapter.json_schema(mode="serialization")
        jsonschema.Draft202012Validator.check_schema(schema)
        told = plain(made, adapter)
        jsonschema.validate(told, schema)
        assert told["action"] == action.value
        assert set(told) == set(schema["required"]), "an agent sees every field, whatever was decided"
    assert plain(judged(*decision), JUDGED)["let_through"] is (action is Action.ANSWER)


def test_arguments_are_read() -> None:
    assert read(AskArguments, {"question": "Where is Lagos?"}).policy is None
    held = read(JudgeArguments, {"question": "q", "answer": "", "samples": ["a"], "passages": ["b"], "policy": "p"})
    assert (held.answer, held.samples, held.passages, held.policy) == ("", ["a"], ["b"], "p")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "question: Field required"),
        ({}, "question: Field required"),
        ({"question": ""}, "question: "),
        ({"question": 3}, "question: Input should be a valid string"),
        ({"question": "q", "answer": "a", "samples": ["a", 1]}, "samples.1: Input should be a valid string"),
        ({"question": "q", "answer": "a", "samples": ["a"] * 65}, "samples: "),
        ({"question": "q", "answer": "a", "sample": ["a"]}, "unknown argument 'sample'; did you mean 'samples'?"),
    ],
)
def test_what_cannot_be_read_is_named_without_the_callers_words(given: Any, said: str) -> None:
    with pytest.raises(RequestError) as raised:
        read(JudgeArguments, given)
    assert str(raised.value).startswith(said)
    assert "For further information" not in str(raised.value)
