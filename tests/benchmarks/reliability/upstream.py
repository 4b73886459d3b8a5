"""The model's server, an OpenAI-compatible one, which can be told to fail in the ways that servers do.

    python -m tests.benchmarks.reliability.upstream [LATENCY]

A process of its own on a port of loopback, which it prints. On its standard input it takes a line of JSON for each
change, ``{"fault": "resets", "share": 0.5}``, and says ``ok`` once it holds. To ``{"tell": true}`` it says what came of
the fault so far (`Felt`), as JSON. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.reliability.questions import Item, asked_in

MODEL, SWAPPED = "model-of-may", "model-of-june"
SPIKE, DRIP = 1.5, 0.25
"""Seconds: what a call in a spike takes longer, and between two bytes of a reply that drips."""
STREAMED = b"text/event-stream"
FAULTS = ("spikes", "resets", "half", "storm", "storm-after", "errors", "html", "torn", "schema", "empty", "drip")
"""Each of a share of the calls. ``swapped``, ``silent`` and ``down`` are of all."""
_SURE = ("swapped", "silent")
"""Another model answers, always the same: by its own name, or by that of the one before."""
_BODIES: dict[str, tuple[int, bytes, bytes]] = {
    "storm": (429, b"application/json", b'{"error": {"message": "slow down", "type": "rate_limit_error"}}'),
    "errors": (500, b"application/json", b'{"error": {"message": "out of order", "type": "server_error"}}'),
    "html": (200, b"text/html", b"<html><body><h1>Welcome to nginx!</h1></body></html>"),
    "torn": (200, b"application/json", b'{"id": "c-1", "choices": [{"index": 0, "mess'),
    "schema": (200, b"application/json", b'{"result": {"text": "all is fine"}}'),
    "empty": (200, b"application/json", b'{"id": "c-1", "object": "chat.completion", "choices": []}'),
}


@dataclass(slots=True)
class Felt:
    """What came of the last fault, as the server saw it."""

    calls: int = 0
    """Calls that it was done to."""
    late: int = 0
    """Calls that came when whoever asks should have left the server alone for a while."""
    seconds: float = 0.0
    """How long that is by now."""


@dataclass(slots=True)
class Model:
    """What is answered, and what goes wrong now."""

    latency: float
    fault: str = ""
    share: float = 1.0
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    server: asyncio.Server | None = None
    port: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    felt: Felt = field(default_factory=Felt)
    shut_at: float = 0.0
    """By the monotonic clock; 0 where nobody need leave it alone."""

    async def listen(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]

    async def change(self, fault: str, share: float, shut_after: float | None = None) -> None:
        """``shut_after``: seconds after which whoever asks should leave it alone."""
        was, self.fault, self.share = self.fault, fault, share
        if fault:
            self.felt = Felt()
            self.shut_at = 0.0 if shut_after is None else time.monotonic() + shut_after
        if fault == "down" and self.server is not None:
            self.server.close()
            self.server = None
            self.felt.calls = len(self.open)
            for writer in tuple(self.open):
                _reset(writer)
        elif was == "down" and fault != "down":
            await self.listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-l")
                )
                asked = json.loads(await reader.readexactly(length))
                if not await self._answer(asked, writer):
                    return
        except (OSError, EOFError):  # whoever asked has gone
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    def told(self) -> Felt:
        self.felt.seconds = max(0.0, time.monotonic() - self.shut_at) if self.shut_at else 0.0
        return self.felt

    async def _answer(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        fault = self.fault if self.rng.random() < self.share else ""
        if fault:
            self.felt.calls += 1
            self.felt.late += 0.0 < self.shut_at <= time.monotonic()
        await asyncio.sleep(self.latency + (SPIKE if fault == "spikes" else 0.0))
        if fault == "resets":
            _reset(writer)
            return False
        if fault in _BODIES or fault == "storm-after":
            status, kind, body = _BODIES["storm" if fault == "storm-after" else fault]
            writer.write(_whole(status, kind, body, b"retry-after: 1\r\n" if fault == "storm-after" else b""))
            await writer.drain()
            return True
        sent = self._reply(asked)
        if fault == "half":
            writer.write(sent[: len(sent) * 2 // 3])
            await writer.drain()
            return False
        if fault == "drip":
            for place in range(len(sent)):
                writer.write(sent[place : place + 1])
                await writer.drain()
                await asyncio.sleep(DRIP)
        writer.write(sent if fault != "drip" else b"")
        await writer.drain()
        return True

    def _reply(self, asked: dict[str, Any]) -> bytes:
        item = asked_in(str(asked["messages"][-1]["content"])) or Item("none", "nobody")
        text = item.said(self.rng, confident=self.fault in _SURE)
        model = SWAPPED if self.fault == "swapped" else MODEL
        if asked.get("stream"):
            return streamed(text, model)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
        made = {"id": "c-1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
        return _whole(200, b"application/json", json.dumps(made).encode())


def streamed(text: str, model: str) -> bytes:
    """The same as server-sent events, in one chunk of HTTP each."""
    made = b""
    for delta, finish in (
        ({"role": "assistant", "content": text[:4]}, None),
        ({"content": text[4:]}, None),
        ({}, "stop"),
    ):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        data = {"id": "c-1", "object": "chat.completion.chunk", "model": model, "choices": [choice]}
        made += _chunk(b"data: " + json.dumps(data).encode() + b"\n\n")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + STREAMED + b"\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + made + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _whole(status: int, kind: bytes, body: bytes, more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d X\r\ncontent-type: %b\r\n%bcontent-length: %d\r\n\r\n"
    return head % (status, kind, more, len(body)) + body


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close it with RST, as a process that dies or a firewall that forgets does."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def serve(latency: float, say: Callable[[str], None]) -> None:
    model = Model(latency)
    await model.listen()
    say(str(model.port))
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        told = json.loads(line)
        if "tell" in told:
            say(json.dumps(asdict(model.told())))
            continue
        await model.change(told["fault"], told.get("share", 1.0), told.get("shut_after"))
        say("ok")


def main() -> None:
    asyncio.run(serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.02, lambda text: print(text, flush=True)))


if __name__ == "__main__":
    main()
