"""The tools as an agent uses them: the real client, over stdio to a process of its own, and over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client, StdioServerParameters

from gate.errors import ConfigError
from gate.integrations.mcp_server import http_app, refuse_others, server_of
from gate.proxy.policies import Policies
from tests.proxy.gate_process import UPSTREAM_KEY, scripted_policy
from tests.proxy.live_server import live
from tests.upstreams.faulty_server import FaultyServer, chat, echoes, silent, status

ROOT = Path(__file__).parents[2]
Work = Callable[[Client], Coroutine[Any, Any, None]]


@pytest.fixture
def policies() -> Policies:
    return Policies.load(["balanced", "strict"])


def talk(to: Any, work: Work, mode: str = "auto") -> None:
    async def run() -> None:
        with anyio.fail_after(30):
            async with Client(to, mode=mode) as client:
                await work(client)

    anyio.run(run)


def started(*policies: str | Path) -> StdioServerParameters:
    """What an agent's configuration says of it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GATE_TEST_UPSTREAM_KEY": UPSTREAM_KEY}
    arguments = ["-m", "gate", "mcp", *map(str, policies)]
    return StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT, env=environment)


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[FaultyServer], Path]:
    monkeypatch.setenv("GATE_TEST_UPSTREAM_KEY", UPSTREAM_KEY)
    return lambda server: scripted_policy(tmp_path, server.url, "scripted")


async def both_tools(client: Client) -> None:
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert sorted(listed) == ["ask", "judge"]
    for tool in listed.values():
        assert tool.input_schema["properties"]["policy"]["enum"][0] == "balanced"
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema is not None
    told: list[tuple[float, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    asked = await client.call_tool("ask", {"question": "Where is Nanjing?"}, progress_callback=on_progress)
    held = asked.structured_content
    assert not asked.is_error
    assert (held["action"], held["text"], held["reason"], held["certified"]) == ("answer", "China", "confident", True)
    assert held["threshold"] < held["p"] <= 1
    assert re.fullmatch("[0-9a-f]{32}", held["id"])
    assert json.loads(asked.content[0].text) == held
    assert [number for number, _ in told] == [1, 2]
    assert told[-1][1] == "small/with_passages/tier0: answer (confident)"
    given = {"question": "Where is Nanjing?", "answer": "China", "samples": ["China", "Peru"], "passages": ["No."]}
    judged = (await client.call_tool("judge", given)).structured_content
    assert judged["let_through"] is False
    assert judged["certified"] is False
    assert 0 < judged["p"] < 1
    assert judged["calls"] == 0


def test_over_stdio_an_agent_asks_and_judges() -> None:
    talk(started("balanced"), both_tools)


def test_over_http_an_agent_asks_and_judges() -> None:
    loaded = Policies.load(["balanced"])  # its own: the server closes them at its end
    with live(http_app(loaded, "127.0.0.1"), lifespan="on") as url:
        talk(f"{url}/mcp", both_tools)


@pytest.mark.parametrize(
    ("tool", "given", "said"),
    [
        ("ask", {"question": "q", "policy": "balancd"}, "unknown policy 'balancd'; did you mean 'balanced'? known: "),
        ("judge", {"question": "q", "answer": "a", "policy": "x"}, "unknown policy 'x'; known: balanced, strict"),
        ("ask", {"question": "  "}, "question: is empty"),
        ("ask", {"question": "q", "polcy": "x"}, "unknown argument 'polcy'; did you mean 'policy'?"),
        ("judge", {"question": "q"}, "answer: Field required"),
        ("tell", {}, "unknown tool 'tell'; known: ask, judge"),
    ],
)
def test_what_cannot_be_asked_is_a_tools_error(policies: Policies, tool: str, given: Any, said: str) -> None:
    async def work(client: Client) -> None:
        result = await client.call_tool(tool, given)
        assert result.is_error
        assert result.content[0].text.startswith(said)
        assert result.structured_content is None

    talk(server_of(policies), work)


def test_an_upstream_that_fails_is_told_to_whoever_asked(policy: Callable[[FaultyServer], Path]) -> None:
    async def work(client: Client) -> None:
        result = await client.call_tool("ask", {"question": "Where is my dog?"})
        assert result.is_error
        assert result.content[0].text.startswith("upstream 'main': refused with status 400")
        assert "Where is my dog?" in result.content[0].text, "the server's own words"
        assert "Traceback" not in result.content[0].text

    with FaultyServer.of(echoes()) as server:
        talk(server_of(Policies.load([str(policy(server))])), work)


def cancelled(server: FaultyServer) -> Work:
    async def work(client: Client) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "ask", {"question": "Where is Lagos?"})
            while not server.asked:
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(server.gone.wait, 10), "the upstream is still at it"
        # the server goes on serving
        assert len((await client.list_tools()).tools) == 2

    return work


def test_over_stdio_a_cancelled_request_stops_what_it_had_begun(policy: Callable[[FaultyServer], Path]) -> None:
    """Here by the older protocol, with its handshake."""
    with FaultyServer.of(silent()) as server:
        talk(started(policy(server)), cancelled(server), "legacy")


def test_over_http_a_cancelled_request_stops_what_it_had_begun(policy: Callable[[FaultyServer], Path]) -> None:
    with (
        FaultyServer.of(silent()) as server,
        live(http_app(Policies.load([str(policy(server))]), "127.0.0.1"), lifespan="on") as url,
    ):
        talk(f"{url}/mcp", cancelled(server))


def test_over_stdio_stdout_is_the_protocols_alone(policy: Callable[[FaultyServer], Path]) -> None:
    """Also where something is logged: an upstream that fails, and input that is no JSON."""
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    sent: list[Any] = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        "this is no JSON",
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "ask", "arguments": {"question": "q"}}},
    ]
    with FaultyServer.of(status(500)) as server:
        parameters = started(policy(server))
        process = subprocess.Popen(
            [parameters.command, *parameters.args],
            cwd=ROOT,
            env=parameters.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            for line in sent:
                process.stdin.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
            process.stdin.flush()
            replies = []
            while not any(reply.get("id") == 2 for reply in replies):
                replies.append(json.loads(process.stdout.readline()))
            process.stdin.close()
            assert process.wait(10) == 0, "it ends with its input"
            assert not process.stdout.read()
            assert "Traceback" not in process.stderr.read()
    assert all(reply["jsonrpc"] == "2.0" for reply in replies)
    assert replies[-1]["result"]["isError"] is True


@contextmanager
def listening(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "gate", "mcp", "--http", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stderr
            until = time.monotonic() + 30
            for line in process.stderr:
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    yield f"{found[0]}/mcp", process
                    break
                assert time.monotonic() < until
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a child process are a POSIX matter")
def test_the_command_serves_http_refuses_other_hosts_and_ends_well() -> None:
    async def work(client: Client) -> None:
        result = await client.call_tool("ask", {"question": "Where is Nanjing?", "policy": "strict"})
        assert result.structured_content["policy"] == "strict"

    with listening("balanced", "strict") as (url, process):
        talk(url, work)
        for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            accepts = {"accept": "application/json, text/event-stream"}
            refused = httpx.post(url, json=body, headers={**accepts, **headers}, trust_env=False)
            assert refused.status_code in (403, 421), "a page elsewhere has got through to this machine"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "gate.example", "::"])
def test_it_is_served_on_loopback_only(host: str, policies: Policies) -> None:
    for refusing in (lambda: refuse_others(host), lambda: http_app(policies, host)):
        with pytest.raises(ConfigError, match="on loopback only, not on"):
            refusing()


def test_answers_are_drawn_and_judged_by_the_policys_own_upstream(policy: Callable[[FaultyServer], Path]) -> None:
    async def work(client: Client) -> None:
        asked = (await client.call_tool("ask", {"question": "Where is Lagos?"})).structured_content
        assert (asked["action"], asked["text"], asked["calibrated"]) == ("answer", "Nigeria", False)
        assert asked["p"] == pytest.approx(6 / 7)
        before = len(server.asked)
        given = {"question": "Where is Lagos?", "answer": "Nigeria", "samples": ["Nigeria"] * 4 + ["Peru"]}
        judged = (await client.call_tool("judge", given)).structured_content
        assert judged["p"] == pytest.approx(5 / 7)
        assert judged["let_through"] is False
        assert len(server.asked) == before, "no model is asked to judge"

    with FaultyServer.of(chat("Nigeria")) as server:
        talk(server_of(Policies.load([str(policy(server))])), work)
