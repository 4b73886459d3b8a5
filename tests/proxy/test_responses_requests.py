"""Bodies of the Responses API: what they become in the chat dialect, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import RequestError
from gate.proxy.request_fields import ChatRequest
from gate.proxy.responses_requests import parse_responses_request
from gate.types import Budget, Message
from tests.proxy.asking import JSON

TOOL = {"type": "function", "name": "look_up", "description": "d", "parameters": {"type": "object"}, "strict": True}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look_up", "arguments": '{"city":"Lagos"}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "Nigeria"}


def parsed(**fields: object) -> ChatRequest:
    return parse_responses_request(json.dumps({"model": "gate", "input": "Where is Lagos?", **fields}).encode())


def test_text_and_instructions_are_a_conversation() -> None:
    asked = parsed(instructions="Be brief.", stream=True, gate={"policy": "strict", "budget": {"calls": 2}})
    assert asked.question.messages == (Message("system", "Be brief."), Message("user", "Where is Lagos?"))
    assert asked.question.options == {}
    assert (asked.stream, asked.policy, asked.budget, asked.n) == (True, "strict", Budget(calls=2), 1)


def test_options_are_put_as_the_chat_dialect_has_them_and_unknown_ones_are_kept() -> None:
    schema = {"type": "json_schema", "name": "place", "schema": {"type": "object"}, "strict": True}
    asked = parsed(
        tools=[TOOL], tool_choice={"type": "function", "name": "look_up"}, parallel_tool_calls=False,
        text={"format": schema, "verbosity": "low"}, reasoning={"effort": "low", "summary": "auto"},
        max_output_tokens=9, temperature=0.2, top_p=0.9, metadata={"a": "b"}, store=True, user="u", service_tier="flex",
        truncation="auto", safety_identifier="s",
    )  # fmt: skip
    assert asked.question.options == {
        "tools": [{"type": "function", "function": {key: TOOL[key] for key in TOOL if key != "type"}}],
        "tool_choice": {"type": "function", "function": {"name": "look_up"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "place", "schema": {"type": "object"}, "strict": True},
        },
        "verbosity": "low",
        "reasoning_effort": "low",
        "max_completion_tokens": 9,
        "temperature": 0.2,
        "top_p": 0.9,
        "user": "u",
        "service_tier": "flex",
        "safety_identifier": "s",
    }
    assert asked.repeated["metadata"] == {"a": "b"}
    assert asked.repeated["tools"] == [TOOL]
    assert "store" not in asked.repeated


@pytest.mark.parametrize(
    ("wanted", "response_format"), [({"type": "text"}, None), ({"type": "json_object"}, {"type": "json_object"})]
)
def test_the_plain_formats(wanted: dict[str, str], response_format: object) -> None:
    assert parsed(text={"format": wanted}).question.options.get("response_format") == response_format


def test_log_probabilities_are_asked_for_in_include() -> None:
    assert parsed(top_logprobs=3).logprobs is None
    assert parsed(include=["message.output_text.logprobs"], top_logprobs=3).logprobs == 3
    assert parsed(include=["message.output_text.logprobs"]).logprobs == 0
    assert parsed(include=["reasoning.encrypted_content"]).logprobs is None


def test_items_become_turns_and_calls_that_run_on_stand_in_one() -> None:
    asked = parsed(
        input=[
            {"role": "developer", "content": "Be kind."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Where is Lagos?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
            CALL,
            CALL | {"call_id": "c2"},
            RESULT,
            RESULT | {"call_id": "c2", "output": [{"type": "input_text", "text": "Portugal"}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "I do not know."}]},
            {"role": "user", "content": "Sure?"},
        ]
    )
    calls = [
        {"id": name, "type": "function", "function": {"name": "look_up", "arguments": '{"city":"Lagos"}'}}
        for name in ("c1", "c2")
    ]
    assert asked.question.messages == (
        Message("developer", "Be kind."),
        Message("user", "Where is Lagos?"),
        Message("assistant", "I look.", {"role": "assistant", "content": "I look.", "tool_calls": calls}),
        Message("tool", "Nigeria", {"role": "tool", "tool_call_id": "c1", "content": "Nigeria"}),
        Message("tool", "Portugal", {"role": "tool", "tool_call_id": "c2", "content": "Portugal"}),
        Message("assistant", "I do not know."),
        Message("user", "Sure?"),
    )


def test_images_files_and_sound_are_kept() -> None:
    asked = parsed(
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                    {"type": "input_file", "file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"},
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                ],
            }
        ]
    )
    (message,) = asked.question.messages
    assert message.content == "What is this?"
    assert message.wire is not None
    assert message.wire["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
    ]


REFUSED = {
    "an earlier response": ({"previous_response_id": "resp_1"}, "previous_response_id"),
    "a conversation": ({"conversation": "conv_1"}, "conversation"),
    "a stored prompt": ({"prompt": {"id": "p"}}, "prompt"),
    "an answer for later": ({"background": True}, "background"),
    "the chat dialect": ({"messages": []}, "messages"),
    "no input": ({"input": None}, "input"),
    "empty input": ({"input": " "}, "input"),
    "no items": ({"input": []}, "input"),
    "several answers": ({"n": 2}, "n"),
    "a tool of the server's": ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    "a tool without a name": ({"tools": [{"type": "function"}]}, "tools.0.name"),
    "a tool that is not there": ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
    "a choice of the server's": ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
    "a format without a schema": ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
    "an item of the server's": ({"input": [{"type": "computer_call"}]}, "input.0.type"),
    "an item by reference": ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0"),
    "an unknown role": ({"input": [{"role": "robot", "content": "hi"}]}, "input.0.role"),
    "an image by id": ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
                       "input.0.content.0"),
    "a call without its id": ({"input": [CALL | {"call_id": ""}]}, "input.0.call_id"),
    "a result of no call": ({"input": [{"type": "function_call_output", "output": "x"}]}, "input.0.call_id"),
    "text as max_output_tokens": ({"max_output_tokens": "5"}, "max_output_tokens"),
    "an address": ({"base_url": "http://127.0.0.1:1"}, "base_url"),
    "a misspelt gate field": ({"gate": {"explian": True}}, "gate.explian"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_asked_is_refused_with_the_field_at_fault(case: str) -> None:
    fields, param = REFUSED[case]
    with pytest.raises(RequestError) as caught:
        parsed(**fields)
    assert (caught.value.param, caught.value.status) == (param, 400)
    assert len(str(caught.value)) < 500


NAMES = st.sampled_from(
    ["input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "metadata", "n", "gate", "x"]
)
WORDS = st.sampled_from(
    ["type", "role", "content", "message", "user", "function_call", "function_call_output", "call_id", "name", "output",
     "arguments", "input_text", "text", "input_image", "image_url", "refusal", "json_schema", "format", "schema"]
)  # fmt: skip
NEARLY = st.recursive(
    st.none() | st.integers(-2, 2) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, NEARLY | JSON, max_size=5))
def test_arbitrary_fields_are_taken_or_refused(fields: dict[str, object]) -> None:
    try:
        parsed(**fields)
    except RequestError:
        return


@given(st.lists(st.dictionaries(WORDS, NEARLY, max_size=5), min_size=1, max_size=4))
def test_arbitrary_items_are_taken_or_refused(items: list[object]) -> None:
    try:
        parsed(input=items)
    except RequestError:
        return
