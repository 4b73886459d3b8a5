"""The Anthropic client pointed at a running gate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.proxy.gate_process import Serving
from tests.proxy.scripted_upstream import ANSWER, RED, SUNNY

UNSURE = "I am unsure: where is Lagos?"
REFUSAL = "I am not sure enough of an answer to give you one."
WEATHER: Any = {
    "name": "weather",
    "description": "How the weather is.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def client(house: Serving) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=house.url, api_key=house.keys["app"], max_retries=0) as made:
        yield made


def asked(content: Any, **more: Any) -> Any:
    return {"model": "gate", "max_tokens": 300, "messages": [{"role": "user", "content": content}], **more}


def test_a_message_whole_and_streamed(client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.create(**asked("Where is Lagos?", system="Be short."))
    reply = raw.parse()
    assert [(part.type, part.text) for part in reply.content] == [("text", ANSWER)]
    assert (reply.stop_reason, raw.headers["x-gate-action"]) == ("end_turn", "answer")
    assert reply.usage.output_tokens == 30
    with client.messages.stream(**asked("Where is Lagos?")) as events:
        assert events.get_final_text() == ANSWER


def test_a_refusal_whole_and_streamed(client: anthropic.Anthropic) -> None:
    reply = client.messages.create(**asked(UNSURE))
    assert reply.stop_reason == "refusal"
    assert [part.text for part in reply.content] == [REFUSAL]
    with client.messages.stream(**asked(UNSURE)) as events:
        assert events.get_final_message().stop_reason == "refusal"


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_used_and_their_results_answered_from(client: anthropic.Anthropic, stream: bool) -> None:
    question = asked("How is the weather in Lagos and Abuja?", tools=[WEATHER])
    if stream:
        with client.messages.stream(**question) as events:
            reply = events.get_final_message()
    else:
        reply = client.messages.create(**question)
    uses = [part for part in reply.content if part.type == "tool_use"]
    assert [use.input for use in uses] == [{"city": "Lagos"}, {"city": "Abuja"}]
    assert reply.stop_reason == "tool_use"
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"} for use in uses]
    turns = [{"role": "assistant", "content": reply.content}, {"role": "user", "content": results}]
    again = client.messages.create(**{**question, "messages": [*question["messages"], *turns]})
    assert [part.text for part in again.content] == [SUNNY]


def test_an_image_reaches_a_model_that_sees(client: anthropic.Anthropic) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    reply = client.messages.create(**asked([{"type": "image", "source": source}, {"type": "text", "text": "What?"}]))
    assert [part.text for part in reply.content] == [RED]


def test_errors_are_of_the_clients_classes(client: anthropic.Anthropic, house: Serving) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(**asked("Where?", model="claude-9"))
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(**asked("Where?", extra_body={"temperature": 7}))
    with pytest.raises(anthropic.BadRequestError, match="upstream says 422"):
        client.messages.create(**asked("status 422"))
    with anthropic.Anthropic(base_url=house.url, api_key="gate-unknown", max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            stranger.messages.create(**asked("Where?"))
        assert refused.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
