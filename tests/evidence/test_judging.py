"""Putting a draft before a judge: what it is shown and what is asked of it."""

from __future__ import annotations

import pytest

from gate.errors import EvidenceUnavailable
from gate.evidence import Draft
from gate.evidence.judging import answered, asked_as, conversation, or_none, put, shown
from gate.ports import Evidence, Profile, Round
from gate.types import Cost, Generation, Message, Question, ToolCall

ASKED = Question.from_text("Where is Lagos?")


def opening(profile: Profile | None = None, *, tokens_left: int | None = None) -> Round:
    return Round(0, ASKED, "small", profile or Profile(), ASKED.messages, tokens_left=tokens_left)


def drafted(generation: Generation) -> Evidence:
    return Evidence().having(Draft(Cost(), generation, "small"))


def test_an_answer_is_shown_as_its_text() -> None:
    assert shown(Generation(" Nigeria\n")) == "Nigeria"


def test_a_tool_call_is_shown_as_json_even_when_its_arguments_are_none() -> None:
    call = ToolCall("1", "find", '{"city": "Lagos"}')
    assert shown(Generation("", tool_calls=(call,))) == '{"tool": "find", "arguments": {"city": "Lagos"}}'
    assert shown(Generation("Look:", tool_calls=(call,))).startswith("Look:\n{")
    assert shown(Generation("", tool_calls=(ToolCall("1", "f", "{broken"),))) == '{"tool": "f", "arguments": "{broken"}'


@pytest.mark.parametrize("generation", [Generation(""), Generation("No.", refusal="No.")])
def test_a_refusal_is_not_judged(generation: Generation) -> None:
    with pytest.raises(EvidenceUnavailable, match="the draft declines to answer"):
        answered(drafted(generation))


def test_without_a_draft_there_is_nothing_to_judge() -> None:
    with pytest.raises(EvidenceUnavailable, match="no draft"):
        answered(Evidence())


def test_where_nothing_is_to_be_quoted_the_prompt_says_so() -> None:
    assert or_none(" a - b -- c\n") == "a - b -- c"
    assert or_none(" ") == "(none)"


def test_a_conversation_says_who_said_what_and_a_lone_question_does_not() -> None:
    assert conversation(ASKED.messages) == "Where is Lagos?"
    turns = (Message("system", "Be brief."), Message("user", "Lagos?"), Message("assistant", "Yes?"))
    assert conversation(turns) == "system: Be brief.\nuser: Lagos?\nassistant: Yes?"


def test_a_prompt_takes_the_place_of_the_last_question_and_images_stay() -> None:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    image = Message("user", "What is it?", {"role": "user", "content": parts})
    first, last, after = asked_as((Message("user", "Hi"), image, Message("assistant", "Hm")), "stated_one_stage")
    assert (first.content, after.content) == ("Hi", "Hm")
    assert "What is it?" in last.content
    assert last.wire is not None
    assert [part["type"] for part in last.wire["content"]] == ["text", "image_url"]
    with pytest.raises(EvidenceUnavailable, match="no message of a user"):
        asked_as((Message("system", "Be brief."),), "stated_one_stage")


@pytest.mark.parametrize(
    ("profile", "upstream", "logprobs", "seed"),
    [
        (Profile(), None, 5, 7),
        (Profile(top_logprobs=20), "small", 20, 7),
        (Profile(logprobs=False), None, None, 7),
        (Profile(seed=False), None, 5, None),
        (Profile(logprobs=False, seed=False), "judge", 20, 7),
    ],
)
def test_a_judge_is_asked_for_what_it_can_give(
    profile: Profile, upstream: str | None, logprobs: int | None, seed: int | None
) -> None:
    made = put(opening(profile), ASKED.messages, upstream=upstream, max_tokens=4, seed=7, alternatives=20)
    assert (made.upstream, made.logprobs, made.seed) == (upstream or "small", logprobs, seed)
    assert (made.temperature, made.max_tokens, made.extra, made.stop) == (0.0, 4, {}, ())


@pytest.mark.parametrize(("left", "of", "cap"), [(None, 1, None), (100, 1, 100), (100, 8, 12), (3, 8, 1)])
def test_replies_share_the_tokens_left(left: int | None, of: int, cap: int | None) -> None:
    assert put(opening(tokens_left=left), ASKED.messages, upstream=None, max_tokens=4, of=of).cap == cap
