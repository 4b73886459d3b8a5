"""Bodies of Anthropic's Messages API: what they become in the chat dialect, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import RequestError
from gate.proxy.messages_requests import parse_messages_request
from gate.proxy.request_fields import ChatRequest
from gate.types import Message
from tests.proxy.asking import JSON, USER

TOOL = {"name": "look_up", "description": "d", "input_schema": {"type": "object"}}


def parsed(**fields: object) -> ChatRequest:
    return parse_messages_request(
        json.dumps({"model": "gate", "max_tokens": 50, "messages": [USER], **fields}).encode()
    )


def test_a_conversation_with_its_system_text() -> None:
    for system in ("Be brief.", [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]):
        asked = parsed(system=system, stream=True, gate={"explain": True})
        assert asked.question.messages == (Message("system", "Be brief."), Message("user", "Where is Lagos?"))
        assert asked.question.options == {"max_tokens": 50}
        assert (asked.stream, asked.explain) == (True, True)


def test_options_are_put_as_the_chat_dialect_has_them_and_unknown_ones_are_kept() -> None:
    asked = parsed(
        tools=[TOOL], tool_choice={"type": "tool", "name": "look_up", "disable_parallel_tool_use": True},
        stop_sequences=["\n"], temperature=0.5, top_k=3, metadata={"user_id": "u1"}, thinking={"type": "disabled"},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
    )  # fmt: skip
    assert asked.question.options == {
        "max_tokens": 50,
        "temperature": 0.5,
        "top_k": 3,
        "stop": ["\n"],
        "user": "u1",
        "tools": [
            {
                "type": "function",
                "function": {"name": "look_up", "parameters": {"type": "object"}, "description": "d"},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "look_up"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": {"type": "object"}}},
    }


@pytest.mark.parametrize(("kind", "word"), [("auto", "auto"), ("any", "required"), ("none", "none")])
def test_choices_of_tools(kind: str, word: str) -> None:
    assert parsed(tools=[TOOL], tool_choice={"type": kind}).question.options["tool_choice"] == word


def test_blocks_become_turns_and_results_of_tools_are_turns_of_their_own() -> None:
    asked = parsed(
        messages=[
            USER,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t1", "name": "look_up", "input": {"city": "Lagos"}},
                    {"type": "tool_use", "id": "t2", "name": "look_up", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "Nigeria"},
                    {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "none"}]},
                    {"type": "text", "text": "So where?"},
                ],
            },
        ]
    )
    calls = [
        {"id": "t1", "type": "function", "function": {"name": "look_up", "arguments": '{"city":"Lagos"}'}},
        {"id": "t2", "type": "function", "function": {"name": "look_up", "arguments": "{}"}},
    ]
    assert asked.question.messages == (
        Message("user", "Where is Lagos?"),
        Message("assistant", "I look.", {"role": "assistant", "content": "I look.", "tool_calls": calls}),
        Message("tool", "Nigeria", {"role": "tool", "tool_call_id": "t1", "content": "Nigeria"}),
        Message("tool", "none", {"role": "tool", "tool_call_id": "t2", "content": "none"}),
        Message("user", "So where?"),
    )


def test_images_and_documents_are_kept() -> None:
    blocks = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://x.org/a.png"}},
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "A"},
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Lagos is in Nigeria."}},
        {"type": "text", "text": "What is this?"},
    ]
    (message,) = parsed(messages=[{"role": "user", "content": blocks}]).question.messages
    assert message.content == "Lagos is in Nigeria.\nWhat is this?"
    assert message.wire is not None
    assert message.wire["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,A"}},
        {"type": "text", "text": "Lagos is in Nigeria."},
        {"type": "text", "text": "What is this?"},
    ]


REFUSED = {
    "no limit": ({"max_tokens": None}, "max_tokens"),
    "no messages": ({"messages": []}, "messages"),
    "an unknown role": ({"messages": [{"role": "tool", "content": "hi"}]}, "messages.0.role"),
    "no content": ({"messages": [{"role": "user"}]}, "messages.0.content"),
    "an empty question": ({"messages": [{"role": "user", "content": " "}]}, "messages"),
    "an unknown block": ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages.0.content.0"),
    "a call by the user": (
        {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]}]},
        "messages.0.content.0",
    ),
    "a result of no call": ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
                            "messages.0.content.0"),
    "an image as system": ({"system": [{"type": "image", "source": {"type": "url", "url": "u"}}]}, "system"),
    "a tool of the server's": ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type"),
    "a tool without a schema": ({"tools": [{"name": "x"}]}, "tools.0"),
    "a tool that is not there": ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice"),
    "an unknown choice": ({"tool_choice": {"type": "some"}}, "tool_choice"),
    "another's tools": ({"mcp_servers": [{"url": "http://127.0.0.1:1"}]}, "mcp_servers"),
    "a shape of no kind": ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
    "too hot": ({"temperature": 1.5}, "temperature"),
    "an address": ({"api_base": "http://127.0.0.1:1"}, "api_base"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_asked_is_refused_with_the_field_at_fault(case: str) -> None:
    fields, param = REFUSED[case]
    with pytest.raises(RequestError) as caught:
        parsed(**fields)
    assert (caught.value.param, caught.value.status) == (param, 400)
    assert len(str(caught.value)) < 500


NAMES = st.sampled_from(["system", "messages", "tools", "tool_choice", "thinking", "metadata", "output_config", "x"])
WORDS = st.sampled_from(
    ["type", "role", "content", "user", "assistant", "tool_use", "tool_result", "tool_use_id", "id", "name", "input",
     "text", "image", "source", "base64", "media_type", "data", "url", "document", "title", "format", "json_schema"]
)  # fmt: skip
NEARLY = st.recursive(
    st.none() | st.integers(-2, 2) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
TURN = st.fixed_dictionaries({"role": WORDS, "content": st.lists(st.dictionaries(WORDS, NEARLY, max_size=5))})


@given(st.dictionaries(NAMES, NEARLY | JSON, max_size=5), st.lists(TURN, max_size=2))
def test_arbitrary_fields_are_taken_or_refused(fields: dict[str, object], turns: list[object]) -> None:
    try:
        parsed(**{"messages": [*turns, USER], **fields})
    except RequestError:
        return
