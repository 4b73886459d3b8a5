"""Chat bodies: what is taken, what is refused and with which field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import RequestError
from gate.proxy.chat_requests import parse_chat_request
from gate.types import Budget
from tests.proxy.asking import JSON, USER, body

ADDRESSES = ("base_url", "api_base", "api_key", "extra_headers")
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
NAMES = st.sampled_from(["model", "messages", "n", "stream", "gate", "stop", "logprobs", "temperature", "tools", "x"])


def test_a_request_becomes_a_question_and_unknown_fields_are_kept_for_the_upstream() -> None:
    asked = parse_chat_request(body(temperature=0.3, reasoning_effort="low", user="u1", stream=True, n=1, stop=None))
    assert asked.question.text == "Where is Lagos?"
    assert asked.question.options == {"temperature": 0.3, "reasoning_effort": "low", "user": "u1"}
    assert asked.stream
    assert asked.budget == Budget()


def test_the_gate_object_is_taken_out_and_obeyed() -> None:
    asked = parse_chat_request(body(gate={"explain": True, "budget": {"calls": 3, "seconds": 2.5}}))
    assert asked.explain
    assert asked.budget == Budget(calls=3, seconds=2.5)
    assert "gate" not in asked.question.options


def test_messages_keep_their_wire_form_when_they_hold_more_than_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
    messages = parse_chat_request(body(messages=[parts, call, USER])).question.messages
    assert [(m.role, m.content) for m in messages] == [
        ("user", "What is this?"),
        ("assistant", ""),
        ("user", "Where is Lagos?"),
    ]
    assert [m.wire for m in messages] == [parts, call, None]


REFUSED = {
    "no messages": ({"messages": []}, "messages"),
    "messages no list": ({"messages": "hi"}, "messages"),
    "system only": ({"messages": [{"role": "system", "content": "Be kind."}]}, "messages"),
    "empty question": ({"messages": [{"role": "user", "content": "  \n"}]}, "messages"),
    "empty parts": ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "messages"),
    "null question": ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
    "number as content": ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
    "unknown role": ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role"),
    "too many answers": ({"n": 9}, "n"),
    "no answer": ({"n": 0}, "n"),
    "unknown streaming": ({"gate": {"streaming": "now"}}, "gate.streaming"),
    "unknown abstention": ({"gate": {"abstention": "silence"}}, "gate.abstention"),
    "no policy's name": ({"gate": {"policy": ""}}, "gate.policy"),
    "options of a stream that is none": ({"stream_options": {"include_usage": True}}, "stream_options"),
    "alternatives of no log-probabilities": ({"logprobs": False, "top_logprobs": 2}, "top_logprobs"),
    "two limits": ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
    "a tool that is not there": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
        "tool_choice",
    ),
    "a tool of none": ({"tool_choice": {"type": "function", "function": {"name": "look_up"}}}, "tool_choice"),
    "a tool required of none": ({"tool_choice": "required"}, "tool_choice"),
    "a tool's message that answers no call": (
        {"messages": [USER, {"role": "tool", "content": "Nigeria"}]},
        "messages.1.tool_call_id",
    ),
    **{f"{name} from outside": ({name: "http://127.0.0.1:1"}, name) for name in ADDRESSES},
    "temperature": ({"temperature": 9}, "temperature"),
    "max_tokens": ({"max_tokens": 0}, "max_tokens"),
    "stream": ({"stream": "maybe"}, "stream"),
    "text as temperature": ({"temperature": "1"}, "temperature"),
    "text as top_p": ({"top_p": "0.5"}, "top_p"),
    "text as max_tokens": ({"max_tokens": "5"}, "max_tokens"),
    "text as seed": ({"seed": "3"}, "seed"),
    "text as stream": ({"stream": "true"}, "stream"),
    "number as stream": ({"stream": 1}, "stream"),
    "float as seed": ({"seed": 3.0}, "seed"),
    "seed beyond 64 bits": ({"seed": 2**64}, "seed"),
    "float as max_completion_tokens": ({"max_completion_tokens": 2.0}, "max_completion_tokens"),
    "float as calls": ({"gate": {"budget": {"calls": 2.0}}}, "gate.budget.calls"),
    "true as one answer": ({"n": True}, "n"),
    "true as max_tokens": ({"max_tokens": True}, "max_tokens"),
    "true as temperature": ({"temperature": True}, "temperature"),
    "text as explain": ({"gate": {"explain": "yes"}}, "gate.explain"),
    "list as gate": ({"gate": []}, "gate"),
    "misspelt gate field": ({"gate": {"explian": True}}, "gate.explian"),
    "misspelt budget field": ({"gate": {"budget": {"cals": 1}}}, "gate.budget.cals"),
    "impossible budget": ({"gate": {"budget": {"calls": 0}}}, "gate.budget.calls"),
}


def test_a_whole_number_is_taken_where_any_number_is() -> None:
    asked = parse_chat_request(body(temperature=1, top_p=1, gate={"budget": {"seconds": 2}}))
    assert asked.question.options == {"temperature": 1, "top_p": 1}
    assert asked.budget == Budget(seconds=2)


NULLED = [
    {"gate": None},
    {"gate": {"budget": None, "explain": None, "policy": None, "abstention": None, "streaming": None}},
    {"stream_options": None},
    {"max_tokens": None, "max_completion_tokens": None, "tool_choice": None, "top_logprobs": None},
    {"n": None, "stream": None, "temperature": None, "stop": None},
]


@pytest.mark.parametrize("fields", NULLED, ids=str)
def test_a_null_is_a_field_that_was_left_out(fields: dict[str, object]) -> None:
    assert parse_chat_request(body(**fields)) == parse_chat_request(body())


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_asked_is_refused_with_the_field_at_fault(case: str) -> None:
    fields, param = REFUSED[case]
    with pytest.raises(RequestError) as caught:
        parse_chat_request(body(**fields))
    assert caught.value.param == param
    assert caught.value.status == 400
    assert len(str(caught.value)) < 500, "a refusal does not repeat the user's text"


def test_a_misspelt_field_gets_the_nearest_one() -> None:
    with pytest.raises(RequestError, match="did you mean 'explain'"):
        parse_chat_request(body(gate={"explian": True}))


def test_what_is_asked_of_gate_itself_is_carried_to_whoever_can_check_it() -> None:
    asked = parse_chat_request(body(gate={"policy": "strict", "abstention": "error", "streaming": "prefix"}))
    assert (asked.policy, asked.abstention, asked.streaming) == ("strict", "error", "prefix")
    plain = parse_chat_request(body())
    assert (plain.policy, plain.abstention, plain.streaming) == (None, None, None)


def test_several_answers_are_several_questions_each_with_a_seed_of_its_own() -> None:
    asked = parse_chat_request(body(n=3, seed=7, temperature=1))
    assert asked.n == 3
    assert [question.options for question in asked.questions] == [{"seed": s, "temperature": 1} for s in (7, 8, 9)]
    assert {question.text for question in asked.questions} == {USER["content"]}
    assert len(parse_chat_request(body(n=3)).questions) == 3
    last = [q.options["seed"] for q in parse_chat_request(body(n=3, seed=2**63 - 2)).questions]
    assert len({*last}) == 3
    assert max(last) < 2**63


def test_the_same_limit_by_both_names_and_a_tool_that_is_there_are_taken() -> None:
    choice = {"type": "function", "function": {"name": "look_up"}}
    asked = parse_chat_request(body(max_tokens=5, max_completion_tokens=5, tools=[TOOL], tool_choice=choice))
    assert asked.question.options["tool_choice"] == choice
    for choice in ("auto", "none", "required"):
        parse_chat_request(body(tools=[TOOL], tool_choice=choice))


def test_images_sound_and_files_are_kept_as_they_came() -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f1"}},
    ]
    (message,) = parse_chat_request(body(messages=[{"role": "user", "content": parts}])).question.messages
    assert message.content == "What is this?"
    assert message.wire is not None
    assert message.wire["content"] == parts


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(raw: bytes) -> None:
    with pytest.raises(RequestError):
        parse_chat_request(raw)


@given(st.dictionaries(NAMES, JSON, max_size=6))
def test_arbitrary_fields_are_taken_or_refused(fields: dict[str, object]) -> None:
    try:
        parse_chat_request(json.dumps({"messages": [USER], **fields}).encode())
    except RequestError:
        return
