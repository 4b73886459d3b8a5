"""The real litellm as an upstream: `gate.upstreams.litellm`, over servers of this machine and under both drivers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gate.drivers import AsyncDriver, Recording, ThreadedDriver, World
from gate.effects import Generate, generate
from gate.errors import UpstreamError, UpstreamTimeout
from gate.ports import Price
from gate.types import Generations, Message
from gate.upstreams.litellm import LiteLLMOptions, LiteLLMUpstream, library
from gate.upstreams.litellm_prices import listed_price
from tests.drivers.running import both
from tests.integrations.litellm_servers import (
    ROOT,
    UPSTREAM_KEY,
    _swept,  # noqa: F401
    closed,
    quiet,
)
from tests.proxy.gate_process import serving
from tests.proxy.scripted_upstream import ANSWER, scripted
from tests.upstreams.faulty_server import (
    Behaviour,
    FaultyServer,
    _Handler,
    chat,
    cut_mid_body,
    refuses,
    resets,
    says,
    silent,
    status,
)

pytestmark = [*quiet, pytest.mark.usefixtures("_swept")]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
POLICY: dict[str, Any] = {
    "name": "mine",
    "promise": {"max_error": 0.05},
    "ladder": ["up"],
    "tiers": [["draft", "samples", "meanings"]],
    "evidence": {"samples": {"n": 4}, "meanings": {"judge": "lexical"}},
    "signals": ["vote_share", "token_logprob_mean"],
    "calibrator": "vote_share",
    "rule": {"answer_at": 0.8},
    "abstain": "I am not sure.",
}


def asked(text: str = "Where is Lagos?", **more: Any) -> Generate:
    return Generate("up", (Message("user", text),), **more)


@pytest.fixture
def over(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    monkeypatch.setenv("GATE_TEST_UPSTREAM_KEY", UPSTREAM_KEY)

    def world(url: str, model: str = "openai/m", timeout: float = 30, **options: Any) -> World:
        made = LiteLLMOptions(model=model, api_base=url, api_key_env="GATE_TEST_UPSTREAM_KEY", **options)
        return World({"up": LiteLLMUpstream.from_options("up", made, Price(1.0, 2.0))}, timeouts={"up": timeout})

    return world


def run(world: World, effect: Generate, *, threaded: bool) -> Generations:
    if threaded:
        driver = ThreadedDriver(world)
        try:
            reply: Any = driver.run(generate(effect), Recording())
        finally:
            driver.close()
        return reply.value

    async def main() -> Any:
        driver = AsyncDriver(world)
        try:
            return await driver.run(generate(effect), Recording())
        finally:
            await driver.aclose()
            await closed()

    return asyncio.run(main()).value


# --- what comes back ---------------------------------------------------------------------------------------------


@both
def test_answers_come_with_their_tokens_and_what_they_cost(threaded: bool, over: Callable[..., World]) -> None:
    with FaultyServer.of(scripted) as server:
        reply = run(over(server.url), asked(n=3, temperature=0.7, logprobs=2, seed=4, max_tokens=9), threaded=threaded)
        (sent,) = server.asked
        assert server.headers[0]["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert [choice.text for choice in reply.choices] == [ANSWER] * 3
    for choice in reply.choices:
        assert choice.tokens is not None
        assert choice.tokens[0].top == (("Lagos", -0.01),)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.model) == (7, 15, "m-1")
    wanted = {"n": 3, "temperature": 0.7, "seed": 4, "max_tokens": 9, "logprobs": True, "top_logprobs": 2}
    assert {name: sent[name] for name in wanted} == wanted
    assert sent.keys() - wanted.keys() == {"path", "model", "messages"}


def test_blocking_it_gives_the_same(over: Callable[..., World]) -> None:
    with FaultyServer.of(scripted) as server:
        world = over(server.url)
        assert world.upstreams["up"].complete(asked(logprobs=1), lambda: False) == run(  # type: ignore[union-attr]
            world, asked(logprobs=1), threaded=True
        )


@both
def test_calls_of_tools_come_back(threaded: bool, over: Callable[..., World]) -> None:
    with FaultyServer.of(scripted) as server:
        effect = asked("weather in Lagos and Rome?", extra={"tools": [TOOL]})
        (choice,) = run(over(server.url), effect, threaded=threaded).choices
    assert [(call.id, call.name, json.loads(call.arguments)["city"]) for call in choice.tool_calls] == [
        ("call_0", "weather", "Lagos"),
        ("call_1", "weather", "Rome"),
    ]
    assert choice.finish_reason == "tool_calls"


def test_a_refusal_of_the_models_own_and_an_answer_that_says_nothing_are_read(over: Callable[..., World]) -> None:
    messages = [{"role": "assistant", "content": None, "refusal": "No."}, {"role": "assistant", "content": None}]
    choices = [{"index": at, "message": each, "finish_reason": "stop"} for at, each in enumerate(messages)]
    with FaultyServer.of(says(json.dumps({"model": "m-1", "choices": choices}).encode())) as server:
        declined, empty = run(over(server.url), asked(n=2), threaded=True).choices
    assert (declined.text, declined.refusal) == ("", "No.")
    assert (empty.text, empty.refusal) == ("", None)


def test_a_mock_response_needs_no_server() -> None:
    options = LiteLLMOptions(model="openai/m", parameters={"mock_response": "Nigeria"})
    world = World({"up": LiteLLMUpstream.from_options("up", options, Price())})
    assert [choice.text for choice in run(world, asked(n=2), threaded=True).choices] == ["Nigeria", "Nigeria"]


# --- what goes wrong ---------------------------------------------------------------------------------------------

BUSY = status(429, retry_after="0")


@both
@pytest.mark.parametrize(
    "behaviour",
    [BUSY, status(500), status(503), cut_mid_body, resets, says(b'{"choices": ['), says(b"")],
    ids=["429", "500", "503", "cut", "reset", "broken JSON", "empty"],
)
def test_what_may_pass_is_asked_again_by_gate_and_by_nobody_else(
    behaviour: Behaviour, threaded: bool, over: Callable[..., World]
) -> None:
    with FaultyServer.of(behaviour, chat("Nigeria")) as server:
        assert run(over(server.url), asked(), threaded=threaded).choices[0].text == "Nigeria"
        assert len(server.asked) == 2


@both
@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_what_will_not_is_not_and_the_words_stay_apart(code: int, threaded: bool, over: Callable[..., World]) -> None:
    with FaultyServer.of(scripted) as server, pytest.raises(UpstreamError) as refused:
        run(over(server.url), asked(f"status {code} my secret"), threaded=threaded)
    assert str(refused.value) == f"upstream 'up': refused with status {code}"
    assert "my secret" in refused.value.said
    assert (refused.value.status, refused.value.retryable) == (code, False)
    assert len(server.asked) == 1


def test_a_server_may_say_when_to_ask_again(over: Callable[..., World]) -> None:
    with FaultyServer.of(scripted) as server, pytest.raises(UpstreamError) as refused:
        run(over(server.url, timeout=2), asked("status 429"), threaded=True)
    assert refused.value.retry_after == 7
    assert len(server.asked) == 1  # after seven seconds it would be too late


def test_a_server_that_is_not_there_is_said_so(over: Callable[..., World]) -> None:
    with pytest.raises(UpstreamError, match="cannot be reached") as refused:
        run(over("http://127.0.0.1:1/v1", timeout=0.5), asked(), threaded=True)
    assert refused.value.retryable


@both
def test_the_deadline_closes_the_connection(threaded: bool, over: Callable[..., World]) -> None:
    library()  # the import is no part of it
    with FaultyServer.of(silent()) as server:
        began = time.monotonic()
        with pytest.raises(UpstreamTimeout, match="deadline"):
            run(over(server.url, timeout=0.5), asked(), threaded=threaded)
        assert server.gone.wait(5)
        assert time.monotonic() - began < 5


def test_whoever_goes_closes_the_connection(over: Callable[..., World]) -> None:
    async def main() -> None:
        driver = AsyncDriver(over(server.url))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(driver.run(generate(asked()), Recording()))
            while not server.asked:
                await asyncio.sleep(0.01)
            task.cancel()
        assert await asyncio.to_thread(server.gone.wait, 5)
        await driver.aclose()
        await closed()

    with FaultyServer.of(silent()) as server:
        asyncio.run(main())


@both
def test_a_field_of_gates_that_a_server_refuses_is_left_out_from_then_on(
    threaded: bool, over: Callable[..., World]
) -> None:
    with FaultyServer.of(refuses("logprobs")) as server:
        world = over(server.url)
        for _ in range(2):
            (choice,) = run(world, asked(logprobs=0), threaded=threaded).choices
            assert (choice.text, choice.tokens) == ("Nigeria", None)
        assert ["logprobs" in each for each in server.asked] == [True, False, False]


def test_a_field_of_the_callers_that_a_provider_does_not_take_is_refused_by_name(over: Callable[..., World]) -> None:
    with FaultyServer.of(chat("Nigeria")) as server:
        world, effect = over(server.url, model="ollama/m"), asked(extra={"presence_penalty": 1.0})
        with pytest.raises(UpstreamError) as refused:
            run(world, effect, threaded=True)
        assert (refused.value.status, refused.value.param) == (400, "presence_penalty")
        assert server.asked == []


def test_a_hundred_questions_at_once_get_each_its_own_answer(over: Callable[..., World]) -> None:
    async def main() -> list[Any]:
        driver = AsyncDriver(over(server.url))
        flows = (generate(asked(f"echo {number}")) for number in range(100))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(driver.run(flow, Recording())) for flow in flows]
        finally:
            await driver.aclose()
            await closed()
        return [task.result() for task in tasks]

    with FaultyServer.of(scripted) as server:
        replies = asyncio.run(main())
    assert [reply.value.choices[0].text for reply in replies] == [f"echo {number}" for number in range(100)]


# --- another dialect ---------------------------------------------------------------------------------------------


def messages_api(handler: _Handler, sent: dict[str, Any]) -> None:
    """Anthropic's dialect, as far as an answer needs it."""
    made = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": sent["model"],
        "content": [{"type": "text", "text": "Nigeria"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 2},
    }
    handler.send(200, json.dumps(made).encode())


@both
def test_another_dialect_answers_without_what_it_does_not_have(threaded: bool, over: Callable[..., World]) -> None:
    with FaultyServer.of(messages_api) as server:
        world = over(server.url.removesuffix("/v1"), model="anthropic/claude-sonnet-4-5")
        reply = run(world, asked(n=2, logprobs=2, seed=1, temperature=0.5, max_tokens=20), threaded=threaded)
        (sent,) = server.asked
        assert server.headers[0]["x-api-key"] == UPSTREAM_KEY
    (choice,) = reply.choices
    assert (choice.text, choice.tokens, choice.finish_reason) == ("Nigeria", None, "stop")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (11, 2)
    assert (sent["path"], sent["model"], sent["max_tokens"]) == ("/v1/messages", "claude-sonnet-4-5", 20)
    assert world.refused == {("up", frozenset()): frozenset({"logprobs", "n", "seed"})}


# --- what it charges ---------------------------------------------------------------------------------------------


def test_prices_are_litellms_own() -> None:
    litellm = library()
    for model in ("openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "gpt-4o"):
        prompt, completion = litellm.cost_per_token(model=model, prompt_tokens=1_000, completion_tokens=1_000)
        price = listed_price(model)
        assert price is not None
        assert (price.prompt / 1_000, price.completion / 1_000) == pytest.approx((prompt, completion))


# --- in gate -----------------------------------------------------------------------------------------------------


def policy(folder: Path, **upstream: Any) -> Path:
    path = folder / "mine.yaml"
    path.write_text(
        yaml.safe_dump({**POLICY, "upstreams": {"up": {"kind": "litellm", "model": "openai/m", **upstream}}})
    )
    return path


ASK = """
import sys
tried = []
sys.addaudithook(lambda event, found: tried.append((event, found)) if event in WATCHED else None)
from gate.cli import main
try:
    main()
finally:
    print(len(tried), "tried", tried[:3], file=sys.stderr)
"""
WATCHED = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"}


def test_gate_ask_starts_it_and_answers_without_a_network_and_prints_nothing_else(tmp_path: Path) -> None:
    path = policy(tmp_path, model="openai/gpt-4o-mini", parameters={"mock_response": "Nigeria"})
    command = [sys.executable, "-c", ASK.replace("WATCHED", repr(WATCHED)), "ask", "--json", "--policy", str(path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LITELLM")}
    ran = subprocess.run(
        [*command, "Where is Lagos?"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stderr
    assert "0 tried []" in ran.stderr
    said = json.loads(ran.stdout)
    assert said["text"] == "Nigeria"
    assert said["cost"]["money"] > 0  # at the table's price


def test_gate_serve_answers_through_it_and_logs_neither_words_nor_keys(tmp_path: Path) -> None:
    with FaultyServer.of(scripted) as server:
        path = policy(tmp_path, api_base=server.url, api_key_env="GATE_TEST_UPSTREAM_KEY")
        with serving(tmp_path, [path]) as running, httpx.Client(base_url=running.url, timeout=60) as client:

            def ask(text: str) -> httpx.Response:
                body = {"model": "mine", "messages": [{"role": "user", "content": text}]}
                return client.post("/v1/chat/completions", json=body)

            answered = ask("Where is Lagos?")
            assert answered.json()["choices"][0]["message"]["content"] == ANSWER
            assert answered.headers["x-gate-action"] == "answer"
            assert ask("unsure").json()["choices"][0]["message"]["refusal"] == "I am not sure."
            refused = ask("status 401 swordfish")
            assert refused.status_code >= 400
            said = running.said
    assert "swordfish" not in said
    assert UPSTREAM_KEY not in said
