"""The server in a process of its own: it answers, finishes what was started when told to stop, and closes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ASK = {"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}]}
PROGRAM = """
import contextlib

from gate.proxy.app import create_app
from gate.proxy.server import serve
from tests.proxy.fake_gateway import FakeGateway

class Telling(FakeGateway):
    async def aask(self, question, *, budget=None):
        print("asked", flush=True)
        return await super().aask(question, budget=budget)

    async def aclose(self):
        print("closed", flush=True)

with contextlib.suppress(KeyboardInterrupt):
    serve(create_app(Telling(seconds=0.3)), "127.0.0.1", 0)
"""


@contextmanager
def serving() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its base address; the process is gone afterwards."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said = next((found for line in process.stderr if (found := re.search(r"http://[\d.]+:\d+", line))), None)
            assert said, "the server ended without saying where it listens"
            yield process, said[0]
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a child process are a POSIX matter")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_it_serves_and_when_told_to_stop_finishes_what_was_started_and_closes(how: signal.Signals) -> None:
    replies: list[httpx.Response] = []
    with serving() as (process, url):
        health = httpx.get(f"{url}/healthz")
        assert (health.status_code, health.json()) == (200, {"status": "ok"})
        assert "server" not in health.headers
        asking = threading.Thread(
            target=lambda: replies.append(httpx.post(f"{url}/v1/chat/completions", json=ASK, timeout=10))
        )
        asking.start()
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(how)
        asking.join(10)
        assert process.stdout.readline() == "closed\n"
        process.wait(10)
        assert process.stderr is not None
        rest = process.stderr.read()
    assert [reply.status_code for reply in replies] == [200]
    assert replies[0].headers["x-gate-action"] == "answer"
    assert "Lagos" not in rest, "the log holds nothing of what was asked"
    assert "Traceback" not in rest
