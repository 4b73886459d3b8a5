"""Answerability: one token, read off its alternatives."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.drivers import Recording, ThreadedDriver
from gate.effects import Reply
from gate.errors import EvidenceUnavailable
from gate.evidence import Answerability, AnswerabilitySource
from gate.evidence.answerability import share_of_yes
from gate.ports import Evidence, Profile, Round
from gate.types import Cost, Generation, Generations, Question, TokenLogprob
from tests.scripted import Scripted, always, world_of


def said(*top: tuple[str, float]) -> Generation:
    listed = tuple((token, math.log(p)) for token, p in top)
    return Generation(top[0][0], tokens=(TokenLogprob(*listed[0], listed),))


@pytest.mark.parametrize(
    ("generation", "known"),
    [
        (said(("A", 0.6), ("B", 0.2), ("The", 0.1)), 0.75),
        (said(("B", 0.6), (" A", 0.1), ("(A", 0.1)), 0.25),
        (said(("A.", 0.9)), 1.0),
        (said(("**B", 0.9)), 0.0),
        (said(("Nigeria", 0.9), ("a", 0.05)), None),
        (Generation("A"), None),
        (Generation("", tokens=()), None),
    ],
)
def test_the_share_of_yes(generation: Generation, known: float | None) -> None:
    value = share_of_yes(generation)
    assert value == (None if known is None else pytest.approx(known))


def gathered(text: str, profile: Profile, question: str = "Where is Lagos?") -> tuple[Answerability, Scripted]:
    asked = Question.from_text(question)
    round_ = Round(0, asked, "small", profile, asked.messages, tokens_left=9)
    upstream = Scripted("small", always(text))
    driver = ThreadedDriver(world_of({"small": upstream}))
    try:
        fact = driver.run(AnswerabilitySource().gather(round_, Evidence()), Recording())
    finally:
        driver.close()
    assert isinstance(fact, Answerability)
    assert fact.cost.calls == len(upstream.asked) == AnswerabilitySource().calls(profile)
    return fact, upstream


def test_one_token_is_asked_for_with_as_many_alternatives_as_are_listed() -> None:
    fact, upstream = gathered("A", Profile(top_logprobs=7))
    assert fact.known == 1.0
    (effect,) = upstream.asked
    assert (effect.max_tokens, effect.n, effect.temperature, effect.logprobs, effect.cap) == (1, 1, 0.0, 7, 9)
    assert "Where is Lagos?" in effect.messages[0].content


@pytest.mark.parametrize("profile", [Profile(logprobs=False), Profile(top_logprobs=0)])
def test_without_log_probabilities_of_alternatives_nothing_is_asked(profile: Profile) -> None:
    fact, upstream = gathered("A", profile)
    assert (fact.known, upstream.asked) == (None, [])
    assert fact.reason == "the upstream gives no log-probabilities of alternatives"


def test_a_reply_without_a_letter_has_a_reason() -> None:
    fact, _ = gathered("Nigeria", Profile())
    assert fact.known is None
    assert fact.reason == "neither letter is among the likely tokens"


def test_a_question_without_text_is_not_asked_about() -> None:
    with pytest.raises(EvidenceUnavailable):
        gathered("A", Profile(), question=" ")


@given(st.lists(st.tuples(st.sampled_from(["A", " A", "B", "(B)", "x", ""]), st.floats(0.01, 1)), min_size=1))
def test_it_is_a_probability(top: list[tuple[str, float]]) -> None:
    value = share_of_yes(said(*top))
    assert value is None or 0.0 <= value <= 1.0


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf])
def test_a_log_probability_that_is_none_tells_nothing(logprob: float) -> None:
    reply = Generation("A", tokens=(TokenLogprob("A", logprob, (("A", logprob), ("B", -1.0))),))
    assert share_of_yes(reply) is None
    asked = Question.from_text("Where is Lagos?")
    flow = AnswerabilitySource().gather(Round(0, asked, "small", Profile(), asked.messages), Evidence())
    next(flow)
    with pytest.raises(StopIteration) as stop:
        flow.send(Reply(Generations((reply,)), Cost()))
    assert (stop.value.value.known, stop.value.value.reason) == (None, "a log-probability is no finite number")
