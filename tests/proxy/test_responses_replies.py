"""The Responses API as its own client reads it: objects, streams, parsing; and what becomes of a stream taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from gate.errors import UpstreamError
from gate.proxy.doors import RESPONSES
from gate.proxy.request_fields import ChatRequest
from gate.proxy.responses_replies import ResponseEvents, response
from gate.proxy.responses_requests import parse_responses_request
from gate.proxy.spoken import RefusalIn
from gate.proxy.wire_errors import WireError
from gate.types import Action, Generation, Outcome, Passage, ToolCall
from tests.proxy.asking import LATE, decided, ended, saying
from tests.proxy.door_app import doors
from tests.proxy.fake_gateway import CALLING, GENERATION, outcome_of

TOOL = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}, "strict": False}
CITING = Outcome(
    Action.ANSWER,
    "Nigeria [1]",
    outcome_of(GENERATION).steps,
    outcome_of(GENERATION).cost,
    Generation("Nigeria [1]", cites=True),
    "small",
    (Passage("a", "text", title="Lagos", source="https://x.org/lagos"),),
    ("a",),
)
SPEAKING_AND_CALLING = outcome_of(
    Generation("I look.", "tool_calls", tool_calls=(ToolCall("c1", "look_up", "{}"), ToolCall("c2", "look_up", "{}")))
)


def request(**fields: object) -> ChatRequest:
    return parse_responses_request(json.dumps({"model": "gate", "input": "Where is Lagos?", **fields}).encode())


def events_of(raw: list[bytes]) -> list[dict[str, Any]]:
    """What a stream says; each event's name is its type and they are counted."""
    made = []
    for event in b"".join(raw).split(b"\n\n")[:-1]:
        name, data = event.split(b"\n", 1)
        made.append(json.loads(data.removeprefix(b"data: ")))
        assert name == b"event: " + made[-1]["type"].encode()
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    return made


@pytest.fixture
def answers() -> dict[str, Outcome]:
    return {
        "answer": outcome_of(GENERATION),
        "refusal": outcome_of(None),
        "call": outcome_of(CALLING),
        "both": SPEAKING_AND_CALLING,
        "cut": outcome_of(Generation("Nig", "length")),
        "json": outcome_of(Generation('{"country": "Nigeria"}')),
    }


@pytest.fixture
def asked() -> list[ChatRequest]:
    return []


@pytest.fixture
def client(answers: dict[str, Outcome], asked: list[ChatRequest]) -> Iterator[openai.OpenAI]:
    def answer(wanted: ChatRequest) -> Outcome:
        if wanted.question.text == "down":
            raise UpstreamError("small", "down")
        return answers[wanted.question.text]

    with (
        doors(answer, asked) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as made,
    ):
        yield made


def test_an_answer_is_a_completed_response(client: openai.OpenAI) -> None:
    made = client.responses.create(
        model="gate", input="answer", instructions="Be brief.", temperature=0.5, metadata={"a": "b"}, store=True,
        max_output_tokens=50, tools=[TOOL], include=["message.output_text.logprobs"], top_logprobs=1,
    )  # fmt: skip
    assert made.output_text == GENERATION.text
    assert (made.status, made.id, made.model, made.object) == ("completed", "resp_feed", "gate", "response")
    assert (made.instructions, made.temperature, made.metadata) == ("Be brief.", 0.5, {"a": "b"})
    assert (made.store, made.previous_response_id, made.max_output_tokens) == (False, None, 50)
    assert made.tools[0].name == "look_up"
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.total_tokens) == (60, 18, 78)
    assert made.usage.output_tokens_details.reasoning_tokens == 0
    (part,) = made.output[0].content
    assert [token.token for token in part.logprobs] == ["Nig", "eria"]
    assert [len(token.top_logprobs) for token in part.logprobs] == [1, 0]


def test_a_refusal_is_a_part_of_its_own_and_says_why(client: openai.OpenAI) -> None:
    made = client.responses.create(model="gate", input="refusal")
    assert made.status == "completed"
    assert made.output_text == ""
    assert made.output[0].content[0].refusal == "I do not know."
    assert made.model_extra is not None
    assert made.model_extra["gate"]["action"] == "abstain"


@pytest.mark.parametrize(
    ("where", "kinds"),
    [("refusal", ["refusal"]), ("content", ["output_text"]), ("both", ["output_text", "refusal"])],
)
def test_a_refusal_stands_where_the_policy_wants_it(where: RefusalIn, kinds: list[str]) -> None:
    made = response(request(), saying(None), where)
    assert [part["type"] for part in made["output"][0]["content"]] == kinds
    streamed = events_of(list(RESPONSES.events(request(stream=True), saying(None), where)))
    assert streamed[-1]["response"]["output"] == made["output"]
    assert [event["part"]["type"] for event in streamed if event["type"] == "response.content_part.added"] == kinds


def test_calls_are_items_and_an_answer_cut_short_is_incomplete(client: openai.OpenAI) -> None:
    made = client.responses.create(model="gate", input="call", tools=[TOOL])
    (call,) = made.output
    assert (call.type, call.name, call.arguments, call.call_id) == (
        "function_call",
        "look_up",
        '{"city": "Lagos"}',
        "call_1",
    )
    assert [item.type for item in client.responses.create(model="gate", input="both").output] == [
        "message", "function_call", "function_call",
    ]  # fmt: skip
    cut = client.responses.create(model="gate", input="cut")
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("what", ["answer", "refusal", "call", "both"])
def test_the_clients_stream_says_the_same(client: openai.OpenAI, what: str) -> None:
    whole = client.responses.create(model="gate", input=what)
    with client.responses.stream(model="gate", input=what) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert final.output_text == whole.output_text
    assert [item.id for item in final.output] == [item.id for item in whole.output]
    deltas = {"answer": "response.output_text.delta", "refusal": "response.refusal.delta"}
    assert deltas.get(what, "response.function_call_arguments.delta") in kinds


def test_an_incomplete_stream_ends_as_such(client: openai.OpenAI) -> None:
    kinds = [event.type for event in client.responses.create(model="gate", input="cut", stream=True)]
    assert kinds[-1] == "response.incomplete"


class Place(BaseModel):
    country: str


def test_a_wanted_shape_is_parsed(client: openai.OpenAI, asked: list[ChatRequest]) -> None:
    made = client.responses.parse(model="gate", input="json", text_format=Place)
    assert made.output_parsed == Place(country="Nigeria")
    assert asked[-1].question.options["response_format"]["json_schema"]["name"] == "Place"
    with client.responses.stream(model="gate", input="json", text_format=Place) as stream:
        assert stream.get_final_response().output_parsed == Place(country="Nigeria")


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="stores no responses") as caught:
        client.responses.create(model="gate", input="answer", previous_response_id="resp_1")
    assert (caught.value.param, caught.value.code) == ("previous_response_id", "not_stored")
    with pytest.raises(openai.UnprocessableEntityError, match="I do not know") as refused:
        client.responses.create(model="gate", input="refusal", extra_body={"gate": {"abstention": "error"}})
    assert (refused.value.type, refused.value.code) == ("gate_abstention", "confident")
    assert refused.value.response.json()["gate"]["action"] == "abstain"
    with pytest.raises(openai.InternalServerError, match="down"):
        client.responses.create(model="gate", input="down", stream=True)


def test_what_was_sent_and_stands_goes_on_where_it_was() -> None:
    writer = ResponseEvents(request(stream=True), "s1")
    events = events_of(
        [writer.begin(), writer.text(""), writer.text("Nigeria "), writer.text("is"), *writer.end(saying(GENERATION))]
    )
    said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert said == GENERATION.text
    assert [event["type"] for event in events].count("response.content_part.added") == 1
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == GENERATION.text
    assert events[-1]["response"]["gate"] == LATE
    late = events_of(list(ResponseEvents(request(stream=True), "s1").whole(saying(GENERATION), certificate="none")))
    assert late[-1]["response"]["gate"] == LATE
    assert "gate" not in events_of(list(RESPONSES.events(request(stream=True), saying(GENERATION))))[-1]["response"]


def test_what_was_sent_and_may_not_stand_is_withdrawn() -> None:
    writer = ResponseEvents(request(stream=True), "s1")
    events = events_of([writer.begin(), writer.text("Ghana"), *writer.end(saying(None))])
    final = events[-1]["response"]
    assert [part.get("text", part.get("refusal")) for part in final["output"][0]["content"]] == ["", "I do not know."]
    assert final["gate"] == {**LATE, "action": "abstain", "retracted": True}
    added = [event["content_index"] for event in events if event["type"] == "response.content_part.added"]
    assert added == [0, 1]


def test_citations_are_annotations_in_the_object_and_the_stream() -> None:
    wanted = {"type": "url_citation", "start_index": 8, "end_index": 11, "url": "https://x.org/lagos", "title": "Lagos"}
    part = response(request(), decided(CITING))["output"][0]["content"][0]
    assert part["annotations"] == [wanted]
    events = events_of(list(RESPONSES.events(request(stream=True), decided(CITING))))
    added = [event["annotation"] for event in events if event["type"] == "response.output_text.annotation.added"]
    assert added == [wanted]


def test_a_question_asked_back_is_text_and_an_explanation_comes_along() -> None:
    asked_back = decided(ended(Action.CLARIFY, "ambiguous"))
    made = response(request(gate={"explain": True}), asked_back)
    assert made["output"][0]["content"][0]["text"] == "Which Lagos?"
    assert made["gate"]["steps"][0]["action"] == "clarify"
    assert made["gate"]["usage"]["answer"] is None


def test_a_stream_that_fails_says_so() -> None:
    writer = ResponseEvents(request(stream=True), "s1")
    events = events_of([writer.begin(), writer.fail(WireError(502, "down", "upstream_error", "upstream_error"))])
    assert [event["type"] for event in events[2:]] == ["response.failed", "error"]
    assert events[2]["response"]["status"] == "failed"
    assert events[3]["message"] == "down"
    withdrawn = ResponseEvents(request(stream=True), "s1")
    failed = WireError(502, "down", "upstream_error", gate={"retracted": True})
    events = events_of([withdrawn.begin(), withdrawn.text("Ghana"), withdrawn.fail(failed)])
    assert events[-2]["response"]["gate"] == {"retracted": True}
