"""Rewriting: what is asked, and which lines of the reply are versions."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.drivers import Recording, ThreadedDriver
from gate.errors import EvidenceUnavailable
from gate.evidence.rewriting import LONGEST, lines, rewritings
from gate.ports import Profile, Round
from gate.types import Generation, Question
from tests.scripted import Scripted, always, world_of

ASKED = Question.from_text("Where is Lagos?")
OPENING = Round(0, ASKED, "small", Profile(), ASKED.messages, tokens_left=77)


def rewritten(reply: str, text: str = "Where is Lagos?", count: int = 3, *, seed: bool = True) -> tuple[str, ...]:
    upstream = Scripted("small", always(reply))
    driver = ThreadedDriver(world_of({"small": upstream}))
    round_ = dataclasses.replace(OPENING, profile=Profile(seed=seed))
    try:
        flow = rewritings(round_, "paraphrases", text, count, temperature=0.7, seed=3)
        versions, cost = driver.run(flow, Recording())
    finally:
        driver.close()
    (effect,) = upstream.asked
    assert (effect.n, effect.temperature, effect.cap, effect.logprobs) == (1, 0.7, 77, None)
    assert effect.seed == (3 if seed else None)
    assert effect.limit == 77
    assert f"exactly {count} lines" in effect.messages[0].content
    assert " ".join(text.split()) in effect.messages[0].content
    assert cost.calls == 1
    return versions


@pytest.mark.parametrize(
    ("text", "parted"),
    [
        ("1. Where?\n2) Which place?\n(3) In what?", ["Where?", "Which place?", "In what?"]),
        ("- a\n* b\n\u2022 c\n\n  d", ["a", "b", "c", "d"]),
        ("same\nsame\n---\n```", ["same"]),
        ("1999 was when?\n3.5 is what?", ["1999 was when?", "3.5 is what?"]),
        ("\ud800 odd\r\nend", ["\ud800 odd", "end"]),
        ("", []),
    ],
)
def test_lines_come_without_their_marks_and_once(text: str, parted: list[str]) -> None:
    assert lines(Generation(text)) == parted


def test_a_line_that_was_cut_off_and_a_refusal_are_no_versions() -> None:
    assert lines(Generation("a\nb\nc wi", finish_reason="length")) == ["a", "b"]
    assert lines(Generation("a\nb", refusal="no")) == []


def test_versions_beyond_the_count_and_the_text_itself_are_left_out() -> None:
    assert rewritten("1. Where is Lagos?\n2. a\n3. b\n4. c\n5. d") == ("a", "b", "c")


def test_an_upstream_without_seeds_is_sent_none() -> None:
    assert rewritten("a\nb", seed=False) == ("a", "b")


def test_a_text_of_several_lines_is_quoted_as_one() -> None:
    assert rewritten("a\nb", text="Lagos is\nin the south\nof Nigeria.") == ("a", "b")


@pytest.mark.parametrize(
    ("reply", "text", "reason"),
    [
        ("only one", "Where is Lagos?", "the upstream wrote 1 versions of 3"),
        ("", "Where is Lagos?", "the upstream wrote 0 versions of 3"),
    ],
)
def test_fewer_than_two_versions_are_none_and_the_call_is_paid(reply: str, text: str, reason: str) -> None:
    with pytest.raises(EvidenceUnavailable, match=reason) as caught:
        rewritten(reply, text)
    assert caught.value.cost is not None
    assert caught.value.cost.calls == 1


@pytest.mark.parametrize("text", ["", " \n", "x" * (LONGEST + 1)])
def test_what_is_blank_or_too_long_is_not_sent(text: str) -> None:
    flow = rewritings(OPENING, "paraphrases", text, 3, temperature=0.7, seed=None)
    with pytest.raises(EvidenceUnavailable):
        next(flow)


@given(st.text(max_size=80))
def test_any_reply_gives_different_lines_that_stand_in_it(text: str) -> None:
    found = lines(Generation(text))
    assert len(set(found)) == len(found)
    assert all(line.strip() == line and line in text for line in found)
