"""What an outcome says: refusal or not, how it ended, its tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.effects import STOPPED_EARLY
from gate.proxy.chat_requests import parse_chat_request
from gate.proxy.spoken import PIECE, finish, logprobs, refuses, tool_calls, withdrawn
from gate.types import Generation, Outcome
from tests.proxy.asking import ENDED, body
from tests.proxy.fake_gateway import CALLING, GENERATION, outcome_of


@pytest.mark.parametrize("how", ENDED)
def test_only_what_stands_in_the_refusal_is_one(how: str) -> None:
    outcome, key, _ = ENDED[how]
    assert refuses(outcome) == (key == "refusal")
    assert not refuses(outcome_of(GENERATION))


def test_a_models_own_refusal_that_goes_out_is_one() -> None:
    declining = outcome_of(Generation("", refusal="I cannot help with that."))
    assert refuses(declining)
    assert not refuses(outcome_of(Generation("Yes.", refusal="")))
    assert not refuses(outcome_of(CALLING))


@pytest.mark.parametrize(
    ("sent", "outcome", "taken_back"),
    [
        ("", outcome_of(None), False),
        ("Nigeria", outcome_of(GENERATION), False),
        (GENERATION.text, outcome_of(GENERATION), False),
        (f"{GENERATION.text} ", outcome_of(GENERATION), True),
        ("Ghana", outcome_of(GENERATION), True),
        ("I do", outcome_of(None), True),
    ],
)
def test_what_was_sent_stands_only_as_the_beginning_of_an_answer(sent: str, outcome: Outcome, taken_back: bool) -> None:
    assert withdrawn(sent, outcome) == taken_back


def test_how_it_ended_is_said_as_openai_does() -> None:
    assert finish(outcome_of(None)) == "stop"
    assert finish(outcome_of(CALLING)) == "tool_calls"
    assert finish(outcome_of(replace(GENERATION, finish_reason=STOPPED_EARLY))) == "length"
    assert [call.name for call in tool_calls(outcome_of(CALLING))] == ["look_up"]
    assert tool_calls(outcome_of(None)) == ()


def test_tokens_are_shown_with_as_many_alternatives_as_were_asked_for() -> None:
    shown = logprobs(parse_chat_request(body(logprobs=True, top_logprobs=1)), GENERATION)
    assert shown is not None
    assert shown[0] == {
        "token": "Nig", "logprob": -0.1, "bytes": [78, 105, 103],
        "top_logprobs": [{"token": "Nig", "logprob": -0.1, "bytes": [78, 105, 103]}],
    }  # fmt: skip
    assert logprobs(parse_chat_request(body()), GENERATION) is None
    assert logprobs(parse_chat_request(body(logprobs=True)), Generation("no tokens")) is None


@given(st.text())
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(PIECE.findall(text)) == text
