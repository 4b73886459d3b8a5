"""The OpenAI client pointed at a running gate: responses, completions, embeddings, feedback, headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.proxy.gate_process import Serving
from tests.proxy.scripted_upstream import ANSWER, COMPLETED, RED, SUNNY
from tests.upstreams.faulty_server import FaultyServer

UNSURE = "I am unsure: where is Lagos?"
REFUSAL = "I am not sure enough of an answer to give you one."
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


class City(BaseModel):
    city: str
    country: str


@pytest.fixture
def client(house: Serving) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.keys["app"], max_retries=0) as made:
        yield made


# --- responses ---------------------------------------------------------------------------------------------------


def test_a_response_whole_and_streamed(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="gate", input="Where is Lagos?", instructions="Be short.")
    assert (reply.status, reply.output_text) == ("completed", ANSWER)
    assert reply.usage is not None
    assert reply.usage.output_tokens == 6 * 5
    with client.responses.stream(model="gate", input="Where is Lagos?") as events:
        written = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert events.get_final_response().output_text == written == ANSWER


def test_a_refused_response_holds_a_refusal(client: openai.OpenAI) -> None:
    raw = client.responses.with_raw_response.create(model="gate", input=UNSURE)
    assert raw.headers["x-gate-action"] == "abstain"
    message: Any = raw.parse().output[0]
    assert [(part.type, part.refusal) for part in message.content] == [("refusal", REFUSAL)]
    with client.responses.stream(model="gate", input=UNSURE) as events:
        assert "response.refusal.done" in {event.type for event in events}


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_calls_tools_and_goes_on_from_their_results(client: openai.OpenAI, stream: bool) -> None:
    asked: list[Any] = [{"role": "user", "content": "How is the weather in Lagos and Abuja?"}]
    if stream:
        with client.responses.stream(model="gate", input=asked, tools=[WEATHER]) as events:
            output = events.get_final_response().output
    else:
        output = client.responses.create(model="gate", input=asked, tools=[WEATHER]).output
    calls: list[Any] = [item for item in output if item.type == "function_call"]
    assert [call.arguments for call in calls] == ['{"city": "Lagos"}', '{"city": "Abuja"}']
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
    again = client.responses.create(
        model="gate", input=[*asked, *(call.to_dict() for call in calls), *results], tools=[WEATHER]
    )
    assert again.output_text == SUNNY


def test_a_response_is_parsed_and_sees_images(client: openai.OpenAI) -> None:
    parsed = client.responses.parse(model="gate", input="Where is Lagos?", text_format=City).output_parsed
    assert parsed == City(city="Lagos", country="Nigeria")
    image: Any = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}
    content: Any = [image, {"type": "input_text", "text": "What is it?"}]
    assert client.responses.create(model="gate", input=[{"role": "user", "content": content}]).output_text == RED


def test_what_would_have_to_be_stored_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="stores no responses") as caught:
        client.responses.create(model="gate", input="And then?", previous_response_id="resp_1")
    assert caught.value.code == "not_stored"


# --- passed through ----------------------------------------------------------------------------------------------


def test_completions_are_passed_through(client: openai.OpenAI, upstream: FaultyServer) -> None:
    whole = client.completions.create(model="gate", prompt="Lagos is in")
    assert whole.choices[0].text == COMPLETED
    assert (upstream.asked[-1]["model"], upstream.asked[-1]["path"]) == ("my-model", "/v1/completions")
    parts = client.completions.create(model="gate", prompt="Lagos is in", stream=True)
    assert "".join(part.choices[0].text for part in parts) == COMPLETED
    with pytest.raises(openai.RateLimitError) as caught:
        client.completions.create(model="gate", prompt="status 429")
    assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("coded", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_embeddings_are_passed_through(client: openai.OpenAI, coded: Any) -> None:
    reply = client.embeddings.create(model="text-embedding-3-small", input=["Lagos", "Abuja!"], **coded)
    assert [row.embedding for row in reply.data] == [[5.0, 1.0], [6.0, 1.0]]
    assert reply.usage.total_tokens == 6


def test_a_client_that_may_ask_for_no_model_is_passed_nothing(house: Serving) -> None:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.keys["tenant"], max_retries=0) as tenant:
        for asked in (
            lambda: tenant.completions.create(model="gate", prompt="x"),
            lambda: tenant.embeddings.create(model="my-model", input="x"),
        ):
            with pytest.raises(openai.NotFoundError):
                asked()


# --- beside ------------------------------------------------------------------------------------------------------


def test_a_decision_is_found_by_its_header_and_fed_back_on(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="gate", messages=[{"role": "user", "content": "Where is Lagos?"}]
    )
    assert raw.headers["x-request-id"] == raw.parse()._request_id
    body = {"decision_id": raw.headers["x-gate-decision-id"], "correct": True}
    reply = client.post("/feedback", cast_to=httpx.Response, body=body)
    assert reply.json() == {"id": body["decision_id"], "kept": True}
