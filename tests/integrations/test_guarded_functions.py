"""Guarded functions where frameworks take functions, and with LiteLLM's own captured: FastAPI, pydantic-ai."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from pydantic_ai import Agent, Tool
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

import gate
from tests.decorator.policies import by_draft, by_votes
from tests.upstreams.faulty_server import FaultyServer, chat

SAID = {"model": "openai/small-1", "api_key": "sk-test", "max_retries": 0}
USER = {"role": "user", "content": "Where is Nanjing?"}
pytestmark = [  # what LiteLLM imports when it is first called, and what it leaves open
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_draft(tmp_path_factory.mktemp("sure"))


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_votes(tmp_path_factory.mktemp("votes"))


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(chat("China")) as running:
        yield running


def test_routes_and_dependencies_of_fastapi(sure: Path, votes: Path) -> None:
    app = FastAPI()
    threads: list[bool] = []

    def running() -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    @app.get("/plain")
    @gate.guard(policy=sure)
    def plain(question: str, loud: bool = False) -> str:
        threads.append(running())
        return "CHINA" if loud else "China"

    @app.get("/later")
    @gate.guard(policy=sure)
    async def later(question: str) -> dict[str, str]:
        threads.append(running())
        return {"country": "China"}

    @app.get("/withheld")
    @gate.guard(policy=votes, default={"country": None})
    async def withheld(question: str) -> dict[str, Any]:
        return {"country": "China"}

    @gate.guard(policy=sure)
    async def depended_on(question: str) -> str:
        return "China"

    @app.get("/depending")
    async def depending(country: str = Depends(depended_on)) -> str:
        return country

    @gate.guard(policy=sure)
    async def pieces(question: str) -> AsyncIterator[str]:
        for piece in ("Chi", "na"):
            yield piece

    @app.get("/pieces")
    async def streamed(question: str) -> StreamingResponse:
        return StreamingResponse(pieces(question))

    with TestClient(app) as client:

        def got(path: str, **more: Any) -> Any:
            return client.get(path, params={"question": "Where is Nanjing?", **more})

        assert got("/plain", loud=True).json() == "CHINA"
        assert client.get("/plain").status_code == 422
        assert got("/later").json() == {"country": "China"}
        assert got("/withheld").json() == {"country": None}
        assert got("/depending").json() == "China"
        assert got("/pieces").text == "China"
    assert threads == [False, True], "the plain one on a thread, the other on the loop"


def test_tools_of_a_pydantic_ai_agent(votes: Path, sure: Path) -> None:
    class Maps:
        @gate.guard(policy=sure)
        async def country(self, question: str) -> str:
            """Says in which country a city is.

            Args:
                question: Where is it?
            """
            return "China"

    @gate.guard(policy=votes, default="unknown")
    def capital(question: str) -> str:
        """Says what the capital is."""
        return "Beijing"

    seen: list[str] = []

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        parts = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
        if not parts:
            seen.extend(json.dumps(tool.parameters_json_schema) for tool in info.function_tools)
            asked = {"question": "Where is Nanjing?"}
            return ModelResponse([ToolCallPart(tool.name, asked) for tool in info.function_tools])
        return ModelResponse([TextPart(" and ".join(str(part.content) for part in parts))])

    agent = Agent(FunctionModel(model), tools=[Maps().country, Tool(capital)])
    assert agent.run_sync("?").output == "China and unknown"
    assert "Where is it?" in seen[0]
    assert all('"question"' in schema for schema in seen)


def test_a_guarded_generator_in_a_plain_route(sure: Path) -> None:
    app = FastAPI()

    @gate.guard(policy=sure)
    def pieces(question: str) -> Iterator[str]:
        yield from ("Chi", "na")

    @app.get("/")
    def streamed(question: str) -> StreamingResponse:
        return StreamingResponse(pieces(question))

    with TestClient(app) as client:
        assert client.get("/", params={"question": "Where is Nanjing?"}).text == "China"


def test_completion_is_repeated(votes: Path, server: FaultyServer) -> None:
    completion = gate.capture(litellm.completion)

    @gate.guard(policy=votes, samples="captured")
    def answer(question: str) -> Any:
        return completion(messages=[USER], api_base=server.url, temperature=0.1, **SAID)

    reply = answer("Where is Nanjing?")
    assert reply.choices[0].message.content == "China"
    assert [each["temperature"] for each in server.asked] == [0.1] + [1.0] * 10
    assert answer.calls.repeated == 10
    assert "sk-test" not in str(answer.decisions[0].trace)


def test_acompletion_is_repeated(votes: Path, server: FaultyServer) -> None:
    completion = gate.capture(litellm.acompletion)

    @gate.guard(policy=votes, samples="captured")
    async def answer(question: str) -> str:
        reply = await completion(messages=[USER], api_base=server.url, **SAID)
        return str(reply.choices[0].message.content)

    assert asyncio.run(answer("Where is Nanjing?")) == "China"
    assert len(server.asked) == 11


def test_chunks_of_a_stream_are_read(votes: Path) -> None:
    @gate.guard(policy=votes, samples="again")
    def pieces(question: str) -> Iterator[Any]:
        yield from litellm.completion("gpt-4o", messages=[USER], mock_response="China", stream=True)

    @gate.guard(policy=votes, samples="again")
    async def pieces_later(question: str) -> AsyncIterator[Any]:
        async for piece in await litellm.acompletion("gpt-4o", messages=[USER], mock_response="China", stream=True):
            yield piece

    async def collected() -> list[Any]:
        return [piece async for piece in pieces_later("Where is Nanjing?")]

    for found in (list(pieces("Where is Nanjing?")), asyncio.run(collected())):
        assert "".join(piece.choices[0].delta.content or "" for piece in found) == "China"
