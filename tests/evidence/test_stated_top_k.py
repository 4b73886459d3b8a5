"""Stated guesses: a line each, however it is laid out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.drivers import Recording, ThreadedDriver
from gate.errors import EvidenceUnavailable
from gate.evidence import Draft, StatedTopK, StatedTopKSource
from gate.evidence.stated_top_k import guesses_in
from gate.ports import Evidence, Profile, Round
from gate.types import Cost, Generation, Message, Question, ToolCall
from tests.scripted import Scripted, always, world_of

ASKED = Question((Message("system", "Be brief."), Message("user", "Where is Lagos?")), {"tools": [{}]})
BOTH = {"nigeria": 0.6, "ghana": 0.25}


@pytest.mark.parametrize(
    "reply",
    [
        "Nigeria | 60%\nGhana | 25%",
        "1. Nigeria | 60%\n2. Ghana | 25%",
        "- **Nigeria** | 60 %\n- Ghana | 0.25",
        "Here are my guesses:\n\nNigeria | 60%\nGhana | 25%\n\nI hope this helps.",
        "| guess | probability |\n|---|---|\n| Nigeria | 60% |\n| Ghana | 25% |",
        "| 1 | Nigeria | 60% |\n| 2 | Ghana | 25% |",
        "1) Nigeria (60%)\n2) Ghana (25%)",
        "Nigeria: 60%\nGhana: 25%",
        "Nigeria - 60%\nGhana – 25%",
        "Guess 1: Nigeria: 0.6\nGuess 2: Ghana: 0,25",
        "Nigeria ｜ ６０％\nGhana ｜ ２５％",
        "Nigeria | 30%\nGhana | 25%\nthe Nigeria! | 30%",
    ],
)
def test_guesses_are_read_in_any_layout_and_equal_ones_are_one(reply: str) -> None:
    assert dict(guesses_in(reply)) == pytest.approx(BOTH)


@pytest.mark.parametrize(
    "reply",
    ["", "Nigeria", "I cannot say.", "In 1969\nAt 42", "Nigeria | perhaps at 3 to 1", "Nigeria | 160%", "| 60%"],
)
def test_a_line_without_a_guess_and_a_probability_is_none(reply: str) -> None:
    assert guesses_in(reply) == ()


def test_guesses_that_are_numbers_keep_them() -> None:
    assert guesses_in("1969 | 60%\n-5 | 20%\n3.5 | 10%") == (("1969", 0.6), ("-5", 0.2), ("3.5", 0.1))


def test_what_is_stated_twice_is_at_most_sure() -> None:
    assert guesses_in("Nigeria | 90%\nNigeria | 90%") == (("nigeria", 1.0),)


@given(st.text() | st.lists(st.sampled_from(["|", "9", "%", "\n", "a", " ", "1. ", "(", "-"])).map("".join))
def test_no_reply_is_too_odd(reply: str) -> None:
    assert all(guess and 0.0 <= chance <= 1.0 for guess, chance in guesses_in(reply))


@pytest.mark.timeout(3)
def test_nor_too_long() -> None:
    assert guesses_in("9 " * 100_000) == ()
    assert guesses_in(" -" * 100_000) == ()


def gathered(reply: str, draft: Generation, source: StatedTopKSource) -> tuple[StatedTopK, Scripted]:
    upstream = Scripted(source.upstream or "small", always(reply))
    driver = ThreadedDriver(world_of({upstream.name: upstream}))
    round_ = Round(0, ASKED, "small", Profile(), ASKED.messages)
    try:
        fact = driver.run(source.gather(round_, Evidence().having(Draft(Cost(), draft, "small"))), Recording())
    finally:
        driver.close()
    assert isinstance(fact, StatedTopK)
    return fact, upstream


def test_one_call_brings_the_guesses_and_the_draft_is_not_in_it() -> None:
    fact, upstream = gathered("Ghana | 60%", Generation("Nigeria!"), StatedTopKSource(k=3))
    (effect,) = upstream.asked
    assert (fact.draft, fact.guesses, fact.cost.calls) == ("nigeria", (("ghana", 0.6),), 1)
    assert "3 best guesses" in effect.messages[1].content
    assert "Where is Lagos?" in effect.messages[1].content
    assert not any("Nigeria" in message.content for message in effect.messages)
    assert (effect.n, effect.temperature, effect.extra) == (1, 0.0, {})


def test_another_upstream_can_be_asked() -> None:
    source = StatedTopKSource(upstream="judge")
    assert gathered("Ghana | 60%", Generation("Nigeria"), source)[1].asked[0].upstream == "judge"
    assert source.uses.upstreams == ("judge",)


def test_a_tool_call_is_no_answer_to_guess() -> None:
    call = Generation("", tool_calls=(ToolCall("1", "f", "{}"),))
    with pytest.raises(EvidenceUnavailable, match="tool call"):
        gathered("Ghana | 60%", call, StatedTopKSource())
