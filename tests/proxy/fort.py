"""A server to be attacked: with keys and little patience, and what is asked of it as bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.proxy.gate_process import Serving, scripted_policy, serving
from tests.proxy.raw_http import opened
from tests.proxy.scripted_upstream import ANSWER

CHAT = "/v1/chat/completions"
POSTED = (CHAT, "/v1/responses", "/v1/messages", "/v1/completions", "/v1/embeddings", "/v1/feedback")
ASK = {"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}]}
ASKED = json.dumps(ASK).encode()
LENGTH = f"content-length: {len(ASKED)}"
READ_SECONDS = 1.0
MIB = 2**20


@contextmanager
def attacked(folder: Path, upstream: str) -> Iterator[Serving]:
    """It lives afterwards, holds no more memory than before, and met nothing that it did not foresee."""
    policy = scripted_policy(folder, upstream, "scripted")
    settings = {"limits": {"read_seconds": READ_SECONDS}, "log": {"url": f"sqlite:///{folder / 'decisions.db'}"}}
    with serving(
        folder, [policy], keys={"app": ("--model", "*", "--role", "ask", "--role", "feedback")}, **settings
    ) as running:
        for _ in range(20):
            assert asked_well(running) == ANSWER
        before = running.resident
        yield running
        assert asked_well(running) == ANSWER, "it lives"
        grown = (running.resident - before) / MIB
        assert grown < 64, f"it holds {grown:.0f} MiB more"
        assert "Traceback" not in running.said
        assert "unexpected" not in running.said


def asked_well(fort: Serving) -> str:
    reply = httpx.post(fort.url + CHAT, json=ASK, headers=fort.bearer("app"), timeout=10)
    return str(reply.json()["choices"][0]["message"]["content"])


def head(fort: Serving, *lines: str | bytes, path: str = CHAT, method: str = "POST") -> bytes:
    """The head of a request of a client that may ask, with these lines."""
    ours = [f"{method} {path} HTTP/1.1", "host: a", f"authorization: Bearer {fort.keys['app']}", *lines]
    return b"\r\n".join(line.encode() if isinstance(line, str) else line for line in ours) + b"\r\n\r\n"


def all_of(url: str, said: bytes) -> bytes:
    """All that comes until the server ends the connection, or has nothing more to say."""
    got = b""
    with opened(url) as sock:
        sock.sendall(said)
        sock.settimeout(0.5)
        try:
            while data := sock.recv(65536):
                got += data
        except (TimeoutError, ConnectionResetError):
            pass
    return got
