"""What LiteLLM shows a guardrail, read: the fields of its version 1.108, and whatever else may come."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import RequestError
from gate.proxy.guardrail_requests import OPTIONS, Brought, Shown, parse_guardrail_request, question_in
from gate.types import Budget, Generation, ToolCall
from tests.proxy.asking import JSON, USER

SHOWN: dict[str, Any] = {
    "input_type": "request",
    "litellm_call_id": "call-1",
    "litellm_trace_id": "trace-1",
    "structured_messages": [{"role": "system", "content": "Be brief."}, USER],
    "images": None,
    "tools": None,
    "texts": ["Be brief.", "Where is Lagos?"],
    "request_data": {"user_api_key_hash": "88dc28d0", "user_api_key_user_id": "someone"},
    "request_headers": {"host": "localhost:4000", "authorization": "[present]", "headers": "[present]"},
    "litellm_version": "1.108.7",
    OPTIONS: {},
    "tool_calls": None,
    "model": "gpt",
}
TOLD = {**SHOWN, "input_type": "response", "structured_messages": None, "texts": ["Nigeria."]}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Lagos"}'}}
CALLED = ToolCall("call_1", "look_up", '{"city": "Lagos"}')
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def parsed(shown: dict[str, Any], **more: Any) -> Shown:
    return parse_guardrail_request(json.dumps({**shown, **more}).encode())


def brought(**more: Any) -> Brought:
    found = parsed(TOLD, **more).asked.brought
    assert found is not None
    return found


def test_a_request_brings_the_conversation() -> None:
    shown = parsed(SHOWN, tools=[TOOL])
    assert (shown.call, shown.answers, shown.asked.brought) == ("call-1", False, None)
    assert shown.conversation is not None
    question = question_in(shown.conversation)
    assert [message.role for message in question.messages] == ["system", "user"]
    assert (question.text, question.options) == ("Where is Lagos?", {"tools": [TOOL]})


def test_a_prompt_is_a_question_and_what_holds_neither_is_none() -> None:
    prompt = parsed(SHOWN, structured_messages=None, texts=["Lagos is in"]).conversation
    assert prompt is not None
    assert question_in(prompt).text == "Lagos is in"
    for nothing in ({"texts": None, "structured_messages": []}, {"texts": [], "structured_messages": None}):
        assert parsed(SHOWN, **nothing).conversation is None
    assert parsed(TOLD).conversation is None, "the texts of an answer are no conversation"


def test_an_answer_brings_each_of_its_texts() -> None:
    shown = parsed(TOLD, texts=["Nigeria.", "Ghana."])
    assert (shown.answers, shown.asked.n, shown.asked.abstention, shown.asked.stream) == (True, 2, "completion", False)
    found = brought(texts=["Nigeria.", "Ghana."])
    assert [given.draft for given in found.answers] == [Generation("Nigeria."), Generation("Ghana.")]
    assert {(given.gather, given.upstream, given.vouched, given.model) for given in found.answers} == {
        ("evidence", "", False, "gpt")
    }
    assert (found.texts, found.on_abstention) == (2, "block")


@pytest.mark.parametrize(
    ("texts", "drafts", "count"),
    [
        ([], [Generation("", "tool_calls", tool_calls=(CALLED,))], 0),
        (["I look."], [Generation("I look.", "tool_calls", tool_calls=(CALLED,))], 1),
        (["a", "b"], [Generation("a"), Generation("b"), Generation("", "tool_calls", tool_calls=(CALLED,))], 2),
    ],
    ids=["alone", "beside one text", "beside several"],
)
def test_calls_of_tools_are_answers_too(texts: list[str], drafts: list[Generation], count: int) -> None:
    found = brought(texts=texts, tool_calls=[CALL])
    assert ([given.draft for given in found.answers], found.texts) == (drafts, count)


def test_nothing_is_no_answer_and_there_is_an_end_to_them() -> None:
    assert brought(texts=None).answers == ()
    with pytest.raises(RequestError, match="9 answers in one reply are more than 8"):
        parsed(TOLD, texts=["a"] * 9)


def test_what_the_settings_ask_for() -> None:
    options = {
        "policy": "strict", "gather": True, "on_abstention": "replace", "written_by": "small", "explain": True,
        "budget": {"calls": 3},
    }  # fmt: skip
    shown = parsed(TOLD, **{OPTIONS: options})
    asked = shown.asked
    assert (asked.policy, asked.explain, asked.budget, shown.written_by) == ("strict", True, Budget(calls=3), "small")
    assert asked.brought is not None
    (given,) = asked.brought.answers
    assert (given.gather, given.upstream, given.vouched) == (True, "small", True)
    assert asked.brought.on_abstention == "replace"
    (lone,) = brought(**{OPTIONS: {"gather": False}}).answers
    assert lone.gather is False
    assert parsed(TOLD, **{OPTIONS: None}).asked.policy is None


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"input_type": "both"}, "input_type", "should be 'request' or 'response'"),
        ({"texts": ["a", 1]}, "texts.1", "valid string"),
        ({"tool_calls": [{"function": {"name": "f"}}]}, "tool_calls.0", "arguments as text"),
        ({"tool_calls": [CALL, {"function": {"name": "f", "arguments": {}}}]}, "tool_calls.1", "arguments as text"),
        ({OPTIONS: {"polcy": "strict"}}, f"{OPTIONS}.polcy", "did you mean 'policy'"),
        ({OPTIONS: {"budget": {"call": 1}}}, f"{OPTIONS}.budget.call", "did you mean 'calls'"),
        ({OPTIONS: {"on_abstention": "pass"}}, f"{OPTIONS}.on_abstention", "'block' or 'replace'"),
        ({OPTIONS: {"api_base": "http://x"}}, f"{OPTIONS}.api_base", "unknown field"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        parsed(TOLD, **fields)
    assert (caught.value.param, caught.value.status) == (param, 400)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "robot", "content": "x"}], "structured_messages.0.role"),
        ([{"role": "system", "content": "x"}], "structured_messages"),
        ([USER, {"role": "tool", "content": "x"}], "structured_messages.1.tool_call_id"),
    ],
    ids=str,
)
def test_a_conversation_that_cannot_be_answered_is_refused_with_its_answer(messages: Any, param: str) -> None:
    shown = parsed(SHOWN, structured_messages=messages)
    assert shown.conversation is not None, "the request itself is none of gate's business"
    with pytest.raises(RequestError) as caught:
        question_in(shown.conversation)
    assert caught.value.param == param


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from([*SHOWN]), JSON), st.sampled_from([SHOWN, TOLD]))
def test_whatever_json_comes_is_read_or_refused(fields: dict[str, Any], shown: dict[str, Any]) -> None:
    with contextlib.suppress(RequestError):
        found = parsed(shown, **fields)
        if found.conversation is not None:
            question_in(found.conversation)
