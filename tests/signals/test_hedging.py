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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Lagos", 1.0),
        ("Lagos lies in Nigeria. It is large.", 1.0),
        ("It is probably Lagos.", 0.5),
        ("I think it might be Lagos.", 0.25),
        ("I'm not sure, but it is Lagos.", 0.25),
        ("I don't know.", 0.0),
        ("I don\u2019t know", 0.0),
        ("Unknown", 0.0),
        ("Not sure.", 0.0),
        ("N/A", 0.0),
        ("Na", 1.0),
        ("The Unknown Soldier", 1.0),
        ("I am unsure about the answer. It could be Lagos or Abuja.", 0.0),
        ("Lagos is in Nigeria. It is probably the largest city.", 0.75),
        ("One. Two. Three. I don't know more than this.", 0.75),
        ("I don't know. One. Two. Three. Four.", 0.0),
        ("No lo sé.", 0.0),
        ("Quizás Lagos.", 0.5),
        ("Je ne sais pas.", 0.0),
        ("C'est peut-être Lagos.", 0.5),
        ("Ich weiß es nicht.", 0.0),
        ("Das ist wahrscheinlich Lagos.", 0.5),
        ("Non lo so.", 0.0),
        ("Não sei.", 0.0),
        ("Ik weet het niet.", 0.0),
        ("Я не знаю.", 0.0),
        ("我不知道。", 0.0),
        ("可能是上海。", 0.5),
        ("わかりません。", 0.0),
        ("", 1.0),
    ],
)
def test_how_plainly_an_answer_is_stated(text: str, value: float) -> None:
    assert assurance(text) == value


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
