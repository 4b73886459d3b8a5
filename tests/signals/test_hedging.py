"""Hedging: what is plain, hedged and withheld, in several languages."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Draft, Samples
from gate.ports import Evidence, Missing
from gate.signals.hedging import DraftAssured, DraftBrevity, SamplesAssured, assurance
from gate.types import Cost, Generation, ToolCall

CALL = Generation("", tool_calls=(ToolCall("1", "look_up", "{}"),))


def drafted(generation: Generation) -> Evidence:
    return Evidence({Draft: Draft(Cost(), generation, "small")})


@pytest.mark.parametrize(
    ("generation", "value"),
    [
        (Generation("Lagos"), 1.0),
        (Generation("Perhaps Lagos"), 0.5),
        (Generation("Lagos", refusal="I can't help with that."), 0.0),
        (Generation(" "), 0.0),
        (CALL, Missing("a tool call states nothing in words")),
    ],
)
def test_a_refusal_states_nothing_and_a_tool_call_is_not_judged(generation: Generation, value: object) -> None:
    assert DraftAssured().measure(drafted(generation)) == value


@pytest.mark.parametrize(
    ("generations", "value"),
    [
        ((Generation("Lagos"), Generation("I don't know"), Generation("maybe Abuja")), 0.5),
        ((Generation("Lagos"), CALL), 1.0),
        ((Generation(""), Generation("Lagos")), 0.5),
        ((CALL,), Missing("tool calls state nothing in words")),
        ((), Missing("tool calls state nothing in words")),
    ],
)
def test_the_samples_are_as_sure_as_their_mean(generations: tuple[Generation, ...], value: object) -> None:
    assert SamplesAssured().measure(Evidence({Samples: Samples(Cost(), generations)})) == value


@pytest.mark.parametrize(
    ("generation", "value"),
    [
        (Generation(" Lagos\n"), -math.log(6)),
        (CALL, Missing("the draft has no text")),
        (Generation("\n"), Missing("the draft has no text")),
    ],
)
def test_brevity_counts_characters(generation: Generation, value: object) -> None:
    assert DraftBrevity().measure(drafted(generation)) == value


def test_an_answer_of_any_length_takes_no_time() -> None:
    long = "Perhaps it is so, and perhaps it is not. " * 20_000
    began = time.process_time()
    assert assurance(long) == 0.5
    assert time.process_time() - began < 0.1


@given(st.text(max_size=80), st.sampled_from(["", "I don't know. ", "maybe ", "可能"]))
def test_any_answer_can_be_read(text: str, before: str) -> None:
    assert 0.0 <= assurance(before + text) <= 1.0
