"""The policies load, and with the constant reply they are sure of the answer, within what they know."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import gate
from gate.proxy.settings import read_settings
from gate.types import Action, Question
from tests.benchmarks.proxy import upstream
from tests.benchmarks.proxy.served_policies import POLICIES, write_policy, write_server
from tests.proxy.live_server import live


@pytest.mark.parametrize("name", POLICIES)
def test_the_constant_answer_goes_out(name: str, tmp_path: Path) -> None:
    asked: list[int] = []

    async def chat(request: Request) -> JSONResponse:
        asked.append((await request.json()).get("n", 1))
        return JSONResponse(upstream.chat_completion(asked[-1]))

    base, samples = POLICIES[name]
    with live(Starlette(routes=[Route(f"{base}/chat/completions", chat, methods=["POST"])])) as address:
        gateway = gate.load_gateway(str(write_policy(tmp_path, name, address)))
        try:
            outcome, _ = gateway.ask(Question.from_text("Where is Lagos?"))
        finally:
            gateway.close()
    assert asked == ([1] if samples == 1 else [1, samples])
    assert (outcome.action, outcome.text) == (Action.ANSWER, upstream.ANSWER)
    assert outcome.confidence
    assert outcome.confidence.p > 0.5
    assert not outcome.confidence.out_of_distribution


def test_the_server_serves_the_policy_and_keeps_a_log(tmp_path: Path) -> None:
    policy = write_policy(tmp_path, "one-draft", "http://127.0.0.1:1")
    settings = read_settings(write_server(tmp_path, policy, 8123, tmp_path / "d.db"))
    assert settings.policies == (str(policy),)
    assert (settings.port, settings.workers, settings.host) == (8123, 1, "127.0.0.1")
    assert urlsplit(settings.log.url).path == f"/{tmp_path / 'd.db'}"
