"""A LangChain chat model pointed at a running gate."""

from __future__ import annotations

import langchain_core.messages as said
import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from tests.proxy.gate_process import Serving
from tests.proxy.scripted_upstream import ANSWER, SUNNY


class City(BaseModel):
    """A city and the country it lies in."""

    city: str
    country: str


def weather(city: str) -> str:
    """How the weather is in a city."""
    return "sunny"


def model(house: Serving, **more: object) -> ChatOpenAI:
    key = SecretStr(house.keys["app"])
    return ChatOpenAI(model="gate", base_url=f"{house.url}/v1", api_key=key, max_retries=0, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
def test_it_is_asked_and_streams(house: Serving, responses: bool) -> None:
    chat = model(house, use_responses_api=responses)
    reply = chat.invoke("Where is Lagos?")
    assert reply.text == ANSWER
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["output_tokens"] == 30
    whole = said.AIMessageChunk("")
    for chunk in chat.stream("Where is Lagos?"):
        whole += chunk
    assert whole.text == ANSWER


def test_what_is_refused_is_told_apart(house: Serving) -> None:
    reply = model(house).invoke("I am unsure: where is Lagos?")
    assert reply.text == ""
    assert reply.additional_kwargs["refusal"] == "I am not sure enough of an answer to give you one."


@pytest.mark.parametrize("streaming", [False, True])
def test_bound_tools_are_called_and_their_results_answered_from(house: Serving, streaming: bool) -> None:
    chat = model(house, streaming=streaming).bind_tools([weather])
    asked = said.HumanMessage("How is the weather in Lagos?")
    reply = chat.invoke([asked])
    assert [(call["name"], call["args"]) for call in reply.tool_calls] == [("weather", {"city": "Lagos"})]
    result = said.ToolMessage("sunny", tool_call_id=reply.tool_calls[0]["id"])
    assert chat.invoke([asked, reply, result]).text == SUNNY


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output(house: Serving, method: str) -> None:
    chat = model(house).with_structured_output(City, method=method)  # type: ignore[arg-type]
    assert chat.invoke("Where is Lagos? Answer as JSON.") == City(city="Lagos", country="Nigeria")


def test_errors_are_the_clients(house: Serving) -> None:
    with pytest.raises(openai.BadRequestError):
        model(house, n=9).invoke("Where is Lagos?")


def test_embeddings(house: Serving) -> None:
    embeddings = OpenAIEmbeddings(
        model="my-model",
        base_url=f"{house.url}/v1",
        api_key=SecretStr(house.keys["app"]),
        check_embedding_ctx_length=False,
    )
    assert embeddings.embed_query("Lagos") == [5.0, 1.0]
