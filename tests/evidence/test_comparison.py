"""Comparing an answer with the draft: by meaning, by likeness, and with tool calls."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import EvidenceUnavailable
from gate.evidence import Draft
from gate.evidence.comparison import Comparison, draft_to_compare, likeness, survives
from gate.ports import Evidence
from gate.types import Cost, Generation, ToolCall

CALL = Generation("", tool_calls=(ToolCall("1", "weather", '{"city": "Lagos", "days": 2}'),))
SAME_CALL = Generation("", tool_calls=(ToolCall("2", "weather", '{"days": 2, "city": "Lagos"}'),))
TEXTS = st.text(max_size=12) | st.sampled_from(["東京", "\ud800", "", " the "])
ANSWERS = st.builds(Generation, TEXTS) | st.just(CALL)


def test_equal_after_normalising_is_the_same() -> None:
    assert Comparison().same(Generation("The Nigeria."), Generation("nigeria"))
    assert not Comparison().same(Generation("Lagos, Nigeria"), Generation("Nigeria Lagos State"))


def test_a_lexical_judge_takes_what_is_alike_enough() -> None:
    one, other = Generation("the river Thames in London"), Generation("in London, the Thames river!")
    assert not Comparison().same(one, other)
    assert Comparison(judge="lexical").same(one, other)
    near = Generation("the river Thames in Londons")
    assert Comparison(judge="lexical", similarity=90).same(one, near)
    assert not Comparison(judge="lexical", similarity=100).same(one, near)


def test_tool_calls_are_the_same_when_they_call_the_same() -> None:
    other = Generation("", tool_calls=(ToolCall("1", "weather", '{"city": "Lagos", "days": 3}'),))
    assert Comparison().same(CALL, SAME_CALL)
    assert not Comparison(judge="lexical", similarity=10).same(CALL, other)
    assert likeness(CALL, SAME_CALL) == 1.0
    assert 0.8 < likeness(CALL, other) < 1.0
    assert likeness(CALL, Generation('[["weather", {"city": "Lagos", "days": 2}]]')) == 0.0


@given(one=ANSWERS, other=ANSWERS)
def test_likeness_is_symmetric_within_bounds_and_whole_for_the_same(one: Generation, other: Generation) -> None:
    assert 0.0 <= likeness(one, other) == likeness(other, one) <= 1.0
    assert likeness(one, one) == 1.0
    if Comparison().same(one, other):
        assert Comparison(judge="lexical").same(one, other)


def test_long_answers_are_compared_in_a_moment() -> None:
    one = Generation(" ".join(f"word{i}" for i in range(20_000)))
    other = Generation(" ".join(f"term{i}" for i in range(20_000)))
    began = time.process_time()
    assert likeness(one, other) < 1.0
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("silent", [Generation(" "), Generation("Lagos", refusal="I will not say.")], ids=repr)
def test_a_draft_that_says_nothing_is_compared_with_nothing(silent: Generation) -> None:
    evidence = Evidence().having(Draft(Cost(), silent, "small"))
    with pytest.raises(EvidenceUnavailable, match="says nothing"):
        draft_to_compare(evidence)


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        ("Nigeria", "NIGERIA.", True),
        ("Nigeria", "It is in Nigeria, still.", True),
        ("It is in Nigeria", "Nigeria", False),  # the second must hold the first
        ("Nigeria", "Nigerian", False),
        ("the river Niger in Mali", "river Niger Mali", True),  # F1 .857
        ("a b c d e f g", "g f e d c b a", True),  # F1 1 in any order
        ("x y z", "x y", True),  # F1 .8
        ("w x y z", "w x", False),  # F1 .667, recall .5
        ("w x y z", "w 1 x 2 y 3 4 5 6", True),  # F1 .462, recall .75
        ("Nigeria", "", False),
        ("", "", True),
    ],
)
def test_an_answer_survives_a_second_turn_by_the_documented_rule(one: str, other: str, kept: bool) -> None:
    assert survives(Generation(one), Generation(other)) is kept
