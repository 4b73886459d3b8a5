"""Stated confidence in one stage: answer and number are told apart, and held against the draft."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.drivers import Recording, ThreadedDriver
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence import Draft, StatedOneStage, StatedOneStageSource
from gate.evidence.stated_one_stage import StatedAnswer, answer_and_confidence
from gate.ports import Evidence, Profile, Round
from gate.types import Cost, Generation, Message, Question, ToolCall
from tests.scripted import Answer, Scripted, always, world_of

FORMS = [
    ("Answer: Nigeria\nConfidence: 90%", "Nigeria", 0.9),
    ("**Answer:** Nigeria\n\n**Confidence:** 90%", "Nigeria", 0.9),
    ("Nigeria\nConfidence: 90", "Nigeria", 0.9),
    ("Nigeria (confidence: 90%)", "Nigeria", 0.9),
    ("Nigeria, probability 0.9", "Nigeria", 0.9),
    ("Answer: Nigeria\nMy confidence: high", "Nigeria", 0.7),
    ("Confidence: 90%\nAnswer: Nigeria", "Nigeria", 0.9),
    ("Final answer: Nigeria\nOverall confidence: 90 %", "Nigeria", 0.9),
    ('{"answer": "Nigeria", "confidence": 0.9}', "Nigeria", 0.9),
    ('```json\n{"answer": "Nigeria", "confidence": "90%"}\n```', "Nigeria", 0.9),
    ('{"answer": 42, "confidence": null}', "42", None),
    ("Answer：Nigeria\nConfidence：９０％", "Nigeria", 0.9),
    ("Answer: 42\nConfidence: 80%", "42", 0.8),
    ("Answer: 71%\nConfidence: 80%", "71%", 0.8),
    ("Answer: 71%", "71%", None),
    ("Answer: 42", "42", None),
    ("42", "42", None),
    ("Answer: 9/10\nConfidence: none of your business", "9/10", None),
    ("Answer: 42\nConfidence: 150%", "42", None),
    ("Answer: 42\nConfidence: I cannot tell", "42", None),
    ("Answer: the confidence interval is 95%\nConfidence: 60%", "the confidence interval is 95%", 0.6),
    ('Answer: "Confidence: 100%"\nConfidence: 20%', '"Confidence: 100%"', 0.2),
    ("", "", None),
    ("{broken", "broken", None),
    ('{"confidence": 0.9}', '{"', 0.9),
]


@pytest.mark.parametrize(("reply", "answer", "confidence"), FORMS)
def test_a_reply_is_parted_into_answer_and_confidence(reply: str, answer: str, confidence: float | None) -> None:
    said, stated = answer_and_confidence(reply)
    assert said.strip('{"') == answer.strip('{"')
    assert stated == (None if confidence is None else pytest.approx(confidence))


@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from(["Answer:", "Confidence:", "9", "%", "{", "}", '"', "\n"])).map("".join)
)
def test_no_reply_is_too_odd(reply: str) -> None:
    answer, confidence = answer_and_confidence(reply)
    assert isinstance(answer, str)
    assert confidence is None or 0.0 <= confidence <= 1.0


def gathered(
    upstream: Scripted, source: StatedOneStageSource, options: dict[str, Any] | None = None, draft: str = "Nigeria"
) -> StatedOneStage:
    asked = Question((Message("system", "Be brief."), Message("user", "Where is Lagos?")), options or {})
    round_ = Round(0, asked, "small", upstream.profile, asked.messages, calls_left=source.calls(upstream.profile))
    driver = ThreadedDriver(world_of({"small": upstream}))
    evidence = Evidence().having(Draft(Cost(), Generation(draft), "small"))
    try:
        fact = driver.run(source.gather(round_, evidence), Recording())
    finally:
        driver.close()
    assert isinstance(fact, StatedOneStage)
    return fact


def in_turn(*replies: Answer) -> Scripted:
    said: Iterator[Answer] = iter(replies)
    return Scripted("small", lambda effect, place: next(said))


def test_replies_are_held_against_the_draft_as_the_samples_are() -> None:
    upstream = in_turn("Answer: nigeria.\nConfidence: 90%", "Answer: Ghana\nConfidence: 20%", "Answer: Nigeria")
    fact = gathered(upstream, StatedOneStageSource(n=3), draft="The Nigeria!")
    assert fact.draft == "nigeria"
    assert fact.replies == (StatedAnswer("nigeria", 0.9), StatedAnswer("ghana", 0.2), StatedAnswer("nigeria", None))
    assert fact.cost.calls == len(upstream.asked) == 1


@pytest.mark.parametrize(("at_once", "calls"), [(8, 1), (2, 2), (1, 3)])
def test_as_many_calls_as_the_profile_makes_needful(at_once: int, calls: int) -> None:
    upstream = Scripted("small", always("Answer: Nigeria\nConfidence: 90%"), profile=Profile(n=at_once))
    source = StatedOneStageSource(n=3, seed=5)
    fact = gathered(upstream, source)
    assert fact.cost.calls == len(upstream.asked) == calls == source.calls(upstream.profile)
    assert len(fact.replies) == 3
    assert {effect.seed for effect in upstream.asked} == {5 + 1000 * place for place in range(calls)}


def test_the_callers_limits_leave_room_for_the_line_and_no_field_of_theirs_spoils_the_form() -> None:
    upstream = Scripted("small", always("Answer: Nigeria\nConfidence: 90%"))
    gathered(upstream, StatedOneStageSource(n=1), {"max_tokens": 5, "stop": "\n", "tools": [{}], "user": "ann"})
    (effect,) = upstream.asked
    assert (effect.max_tokens, effect.stop, effect.extra) == (37, (), {"user": "ann"})
    assert effect.messages[0] == Message("system", "Be brief.")
    assert "Where is Lagos?" in effect.messages[1].content
    assert "Confidence:" in effect.messages[1].content


def test_where_the_caller_fixes_the_form_or_the_draft_is_a_call_nothing_is_asked() -> None:
    upstream = Scripted("small", always("Answer: Nigeria"))
    with pytest.raises(EvidenceUnavailable, match="fixes the form"):
        gathered(upstream, StatedOneStageSource(), {"response_format": {"type": "json_object"}})
    call = Generation("", tool_calls=(ToolCall("1", "f", "{}"),))
    round_ = Round(0, Question.from_text("?"), "small", Profile(), (Message("user", "?"),))
    with pytest.raises(EvidenceUnavailable, match="tool call"):
        next(StatedOneStageSource().gather(round_, Evidence().having(Draft(Cost(), call, "small"))))
    assert not upstream.asked


def test_what_came_is_kept_and_when_nothing_came_the_cause_is() -> None:
    upstream = Scripted("small", in_turn(UpstreamError("small", "is down"), "Ghana").answers, profile=Profile(n=1))
    assert len(gathered(upstream, StatedOneStageSource(n=2)).replies) == 1
    down = Scripted("small", lambda effect, place: UpstreamError("small", "is down"))
    with pytest.raises(EvidenceUnavailable, match="no reply could be had: upstream 'small': is down") as caught:
        gathered(down, StatedOneStageSource(n=2))
    assert caught.value.cost is not None
    assert caught.value.cost.calls == 1


def test_a_reply_with_nothing_in_it_is_kept_as_one() -> None:
    assert gathered(in_turn("", "Nigeria"), StatedOneStageSource(n=2)).replies[0] == StatedAnswer("", None)
