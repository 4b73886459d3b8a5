"""What every door asks of a request alike."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from gate.errors import RequestError
from gate.proxy.chat_requests import ChatFields
from gate.proxy.request_fields import GateFields, checked, question_of, refuse_addresses, requested
from gate.types import Budget, Message, Question
from tests.proxy.asking import USER


def test_a_budget_tightens_and_everything_else_is_left_to_the_policy() -> None:
    asked = requested(
        "gate", Question.from_text("hi"), GateFields(budget=GateFields.BudgetFields(calls=2)), stream=True
    )
    assert asked.budget == Budget(calls=2)
    assert asked.stream
    assert requested("gate", Question.from_text("hi"), None).budget == Budget()


def test_where_a_model_is_can_never_come_from_a_request() -> None:
    with pytest.raises(RequestError, match="only the server's policy says") as caught:
        checked(ChatFields, {"model": "gate", "api_base": "http://127.0.0.1:1", "messages": []})
    assert (caught.value.param, caught.value.status) == ("api_base", 400)
    assert "127.0.0.1" not in str(caught.value)


def test_a_fault_names_the_field_and_not_its_value() -> None:
    with pytest.raises(RequestError) as caught:
        checked(ChatFields, {"model": "gate", "messages": "my secret"})
    assert caught.value.param == "messages"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"stop": [1]}, "stop.0"), ({"stop": 1}, "stop"), ({"gate": {"budget": {"calls": "1"}}}, "gate.budget.calls")],
)
def test_the_field_at_fault_is_named_as_it_stands_in_the_body(fields: dict[str, object], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        checked(ChatFields, {"model": "gate", "messages": [USER], **fields})
    assert caught.value.param == param


def test_a_misspelt_field_is_told_those_of_where_it_stands() -> None:
    class Plain(BaseModel, extra="forbid"):
        correct: bool = True

    for kind, body, known in (
        (Plain, {"corect": True}, "did you mean 'correct'"),
        (ChatFields, {"model": "gate", "messages": [USER], "gate": {"explane": True}}, "did you mean 'explain'"),
        (ChatFields, {"model": "gate", "messages": [USER], "gate": {"budget": {"cals": 1}}}, "did you mean 'calls'"),
    ):
        with pytest.raises(RequestError, match=known):
            checked(kind, body)  # type: ignore[type-var]


@pytest.mark.parametrize("messages", [[], [Message("system", "Be kind.")], [Message("user", "  ")]], ids=len)
def test_a_conversation_without_a_question_is_refused_by_the_doors_own_name(messages: list[Message]) -> None:
    with pytest.raises(RequestError) as caught:
        question_of(messages, {}, "input")
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"base_url": "http://10.0.0.1"}, "base_url"),
        ({"fallbacks": [{"model": "x", "api_base": "http://10.0.0.1"}]}, "api_base"),
        ({"anything": {"deep": [{"down": {"extra_headers": {}}}]}}, "extra_headers"),
        ({"kv_transfer_params": {"remote_host": "10.0.0.1"}}, "kv_transfer_params"),
    ],
)
def test_where_a_model_is_cannot_be_said_at_any_depth(more: dict[str, Any], name: str) -> None:
    with pytest.raises(RequestError, match="cannot be given in a request") as caught:
        refuse_addresses({"model": "gate", **more})
    assert caught.value.param == name


def test_what_is_talked_about_may_have_any_name() -> None:
    schema = {"type": "object", "properties": {"base_url": {"type": "string"}, "headers": {"type": "object"}}}
    tool = {"type": "function", "function": {"name": "fetch", "parameters": schema}}
    said = [{"role": "user", "content": "hi", "headers": {}}]
    refuse_addresses({"tools": [tool], "messages": said, "response_format": {"json_schema": {"schema": schema}}})
