"""Anthropic's Messages API as its own client reads it: messages, streams, errors; and a stream taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from gate.errors import RequestError, UpstreamError
from gate.proxy.doors import MESSAGES
from gate.proxy.messages_replies import MessageEvents, error_body, message
from gate.proxy.messages_requests import parse_messages_request
from gate.proxy.request_fields import ChatRequest
from gate.proxy.spoken import RefusalIn
from gate.proxy.wire_errors import WireError, wire_error
from gate.types import Action, Generation, Outcome, ToolCall
from tests.proxy.asking import LATE, USER, decided, ended, saying
from tests.proxy.door_app import doors
from tests.proxy.fake_gateway import CALLING, GENERATION, outcome_of

TOOL: Any = {"name": "look_up", "input_schema": {"type": "object", "properties": {}}}
ANSWERS = {
    "answer": outcome_of(GENERATION),
    "refusal": outcome_of(None),
    "call": outcome_of(CALLING),
    "both": outcome_of(
        Generation(
            "I look.", "tool_calls", tool_calls=(ToolCall("c1", "look_up", "{}"), ToolCall("c2", "f", "[broken"))
        )
    ),
    "cut": outcome_of(Generation("Nig", "length")),
    "asked back": ended(Action.CLARIFY, "ambiguous"),
}


def request(**fields: object) -> ChatRequest:
    return parse_messages_request(json.dumps({"model": "gate", "max_tokens": 9, "messages": [USER], **fields}).encode())


def events_of(raw: list[bytes]) -> list[dict[str, Any]]:
    made = []
    for event in b"".join(raw).split(b"\n\n")[:-1]:
        name, data = event.split(b"\n", 1)
        made.append(json.loads(data.removeprefix(b"data: ")))
        assert name == b"event: " + made[-1]["type"].encode()
    return made


@pytest.fixture(scope="module")
def client() -> Iterator[anthropic.Anthropic]:
    def answer(wanted: ChatRequest) -> Outcome:
        if wanted.question.text == "down":
            raise UpstreamError("small", "down")
        return ANSWERS[wanted.question.text]

    with (
        doors(answer, []) as url,
        anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0) as made,
    ):
        yield made


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gate", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **more}


def test_an_answer_is_a_message(client: anthropic.Anthropic) -> None:
    made = client.messages.create(**ask("answer", system="Be brief.", tools=[TOOL]))
    assert (made.id, made.role, made.model, made.stop_reason) == ("msg_feed", "assistant", "gate", "end_turn")
    assert [block.text for block in made.content] == [GENERATION.text]
    assert (made.usage.input_tokens, made.usage.output_tokens) == (60, 18)


def test_a_refusal_is_shown_and_says_why(client: anthropic.Anthropic) -> None:
    made = client.messages.create(**ask("refusal"))
    assert made.stop_reason == "refusal"
    assert made.content[0].text == "I do not know."
    assert made.stop_details is not None
    assert made.stop_details.explanation == "I do not know."
    assert made.model_extra is not None
    assert made.model_extra["gate"] == {"action": "abstain", "reason": "confident"}


@pytest.mark.parametrize(("where", "explained"), [("refusal", True), ("both", True), ("content", False)])
def test_the_text_of_a_refusal_is_always_in_the_content(where: RefusalIn, explained: bool) -> None:
    made = message(request(), saying(None), where)
    assert made["content"][0]["text"] == "I do not know."
    assert (made["stop_details"]["explanation"] is not None) == explained


def test_calls_are_blocks_and_what_is_no_object_is_shown_as_it_is(client: anthropic.Anthropic) -> None:
    made = client.messages.create(**ask("call", tools=[TOOL]))
    (call,) = made.content
    assert (made.stop_reason, call.name, call.input, call.id) == ("tool_use", "look_up", {"city": "Lagos"}, "call_1")
    made = client.messages.create(**ask("both", tools=[TOOL]))
    assert [block.type for block in made.content] == ["text", "tool_use", "tool_use"]
    assert made.content[2].input == {"arguments": "[broken"}
    assert client.messages.create(**ask("cut")).stop_reason == "max_tokens"
    assert client.messages.create(**ask("asked back")).stop_reason == "end_turn"


@pytest.mark.parametrize("what", ANSWERS)
def test_the_clients_stream_says_the_same(client: anthropic.Anthropic, what: str) -> None:
    whole = client.messages.create(**ask(what, tools=[TOOL]))
    with client.messages.stream(**ask(what, tools=[TOOL])) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert final.stop_reason == whole.stop_reason
    assert [block.model_dump(include={"type", "text", "name", "input"}) for block in final.content] == [
        block.model_dump(include={"type", "text", "name", "input"}) for block in whole.content
    ]
    assert (final.usage.input_tokens, final.usage.output_tokens) == (60, 18)


def test_errors_are_the_clients_own(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="runs no tools") as caught:
        client.messages.create(**ask("answer", tools=[{"type": "web_search_20250305", "name": "web_search"}]))
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(anthropic.UnprocessableEntityError, match="I do not know") as refused:
        client.messages.create(**ask("refusal", extra_body={"gate": {"abstention": "error"}}))
    assert refused.value.response.json()["gate"]["action"] == "abstain"
    with pytest.raises(anthropic.InternalServerError, match="down"):
        client.messages.create(**ask("down"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WireError(401, "m", "x"), "authentication_error"),
        (WireError(404, "m", "x"), "not_found_error"),
        (WireError(429, "m", "x"), "rate_limit_error"),
        (WireError(418, "m", "x"), "invalid_request_error"),
        (WireError(502, "m", "x"), "api_error"),
        (WireError(503, "m", "x"), "overloaded_error"),
        (wire_error(RequestError("m")), "invalid_request_error"),
    ],
)
def test_every_error_has_anthropics_shape(error: WireError, kind: str) -> None:
    assert error_body(error) == {"type": "error", "error": {"type": kind, "message": "m"}}


def test_gates_own_word_for_an_error_is_in_its_details() -> None:
    assert error_body(WireError(400, "m", "x", "code"))["error"]["details"] == {"error_code": "code"}


def test_what_was_sent_and_stands_goes_on_where_it_was() -> None:
    writer = MessageEvents(request(stream=True), "s1")
    events = events_of([writer.begin(), writer.text(""), writer.text("Nigeria "), *writer.end(saying(GENERATION))])
    assert "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta") == GENERATION.text
    assert [e["index"] for e in events if e["type"] == "content_block_stop"] == [0]
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert events[-2]["gate"] == LATE
    late = events_of(list(MessageEvents(request(stream=True), "s1").whole(saying(GENERATION), certificate="none")))
    assert late[-2]["gate"] == LATE
    assert "gate" not in events_of(list(MESSAGES.events(request(stream=True), saying(GENERATION))))[-2]


def test_what_was_sent_and_may_not_stand_is_withdrawn() -> None:
    writer = MessageEvents(request(stream=True), "s1")
    events = events_of([writer.begin(), writer.text("Ghana"), *writer.end(saying(None))])
    said = {0: "", 1: ""}
    for event in events:
        if event["type"] == "content_block_delta":
            said[event["index"]] += event["delta"]["text"]
    assert said == {0: "Ghana", 1: "I do not know."}
    assert events[-2]["delta"]["stop_reason"] == "refusal"
    assert events[-2]["gate"] == {**LATE, "action": "abstain", "retracted": True}


def test_an_explanation_comes_with_the_last_delta_and_a_failure_is_an_event() -> None:
    events = events_of(list(MESSAGES.events(request(gate={"explain": True}), decided(outcome_of(GENERATION)))))
    assert events[-2]["gate"]["action"] == "answer"
    failed = MessageEvents(request(), "s1").fail(WireError(502, "down", "upstream_error"))
    assert failed.startswith(b"event: error\ndata: ")
    assert b"down" in failed
