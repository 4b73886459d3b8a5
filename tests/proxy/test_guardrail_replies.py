"""What LiteLLM is told of answers: the words it knows, and nothing that it would take for leave to let one out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gate.proxy.guardrail_replies import verdict
from gate.proxy.guardrail_requests import OPTIONS, parse_guardrail_request
from gate.proxy.json_wire import dumps
from gate.types import Generation, Outcome
from tests.proxy.asking import ENDED, decided
from tests.proxy.fake_gateway import CALLING, GENERATION, outcome_of

REFUSED, OTHER = outcome_of(None), Generation("Ghana.")
CALL = {
    "id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Lagos"}'},
}  # fmt: skip
UNSAID = "Another answer is more likely right"


def said(*outcomes: Outcome, texts: list[str] | None = None, calls: Any = None, **options: Any) -> dict[str, Any]:
    shown = {
        "input_type": "response", "texts": [GENERATION.text] if texts is None else texts, "tool_calls": calls,
        OPTIONS: options,
    }  # fmt: skip
    asked = parse_guardrail_request(json.dumps(shown).encode()).asked
    return verdict(asked, decided(*outcomes))


@pytest.mark.parametrize("how", ["block", "replace"])
def test_what_is_let_through_is_left_as_it_is(how: str) -> None:
    made = said(outcome_of(GENERATION), on_abstention=how)
    assert made == {"action": "NONE", "stream_holdback_chars": [len(GENERATION.text)]}


@pytest.mark.parametrize("how", [*ENDED, "refusal"])
def test_what_is_not_is_blocked_or_replaced_and_the_reason_told(how: str) -> None:
    outcome = REFUSED if how == "refusal" else ENDED[how][0]
    blocked = said(outcome)
    assert (blocked["action"], blocked["blocked_reason"]) == ("BLOCKED", outcome.text)
    assert "texts" not in blocked
    replaced = said(outcome, on_abstention="replace")
    assert (replaced["action"], replaced["texts"]) == ("GUARDRAIL_INTERVENED", [outcome.text])
    assert replaced["stream_holdback_chars"] == [len(outcome.text)]
    assert blocked["gate"] == replaced["gate"]
    assert blocked["gate"]["reason"] == outcome.decision.reason


def test_a_better_answer_stands_in_its_place_only_where_that_is_asked_for() -> None:
    blocked = said(outcome_of(OTHER), gather=True)
    assert blocked["action"] == "BLOCKED"
    assert blocked["blocked_reason"].startswith(UNSAID)
    assert "Ghana" not in json.dumps(blocked)
    replaced = said(outcome_of(OTHER), gather=True, on_abstention="replace")
    assert (replaced["action"], replaced["texts"]) == ("GUARDRAIL_INTERVENED", ["Ghana."])


@pytest.mark.parametrize(
    ("outcomes", "how", "action", "texts"),
    [
        ([outcome_of(GENERATION), outcome_of(OTHER)], "block", "NONE", None),
        ([outcome_of(GENERATION), REFUSED], "block", "BLOCKED", None),
        ([outcome_of(GENERATION), REFUSED], "replace", "GUARDRAIL_INTERVENED", [GENERATION.text, REFUSED.text]),
    ],
)
def test_of_several_each_has_its_place(outcomes: list[Outcome], how: str, action: str, texts: Any) -> None:
    made = said(*outcomes, texts=[GENERATION.text, OTHER.text], on_abstention=how)
    assert (made["action"], made.get("texts")) == (action, texts)


@pytest.mark.parametrize("how", ["block", "replace"])
def test_a_call_of_a_tool_is_let_through_or_blocked(how: str) -> None:
    called = outcome_of(CALLING)
    assert said(called, texts=[], calls=[CALL], on_abstention=how)["action"] == "NONE"
    assert said(REFUSED, texts=[], calls=[CALL], on_abstention=how)["action"] == "BLOCKED"
    told = outcome_of(GENERATION)
    assert said(told, texts=[GENERATION.text], calls=[CALL], on_abstention=how)["action"] == "BLOCKED", "it calls none"
    assert said(called, on_abstention=how)["action"] == "BLOCKED", "it called none before"
    other = outcome_of(replace(CALLING, tool_calls=(replace(CALLING.tool_calls[0], arguments="{}"),)))
    assert said(other, texts=[], calls=[CALL], on_abstention=how)["action"] == "BLOCKED"
    beside = said(outcome_of(GENERATION), outcome_of(OTHER), REFUSED, texts=[GENERATION.text, OTHER.text], calls=[CALL])
    assert beside["action"] == "BLOCKED"


def test_the_whole_decision_where_it_is_asked_for_and_half_a_character_on_the_wire() -> None:
    assert said(outcome_of(GENERATION), explain=True)["gate"]["confidence"]["p"] == 0.9123
    torn = outcome_of(Generation("Ghana \ud800"))
    assert b"Ghana ?" in dumps(said(torn, on_abstention="replace"))
