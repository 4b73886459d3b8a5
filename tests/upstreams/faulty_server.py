"""A real HTTP server on loopback that answers as scripted: well, badly, slowly, half, or not at all."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

Behaviour = Callable[["_Handler", dict[str, Any]], None]
"""Answers one request; gets the handler and the request's JSON."""


@dataclass
class FaultyServer:
    """``with FaultyServer(answers()) as server:`` — every request runs the next behaviour; the last one repeats."""

    first: Behaviour
    then: tuple[Behaviour, ...] = ()
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when a client closed its connection before it was answered."""

    @classmethod
    def of(cls, *behaviours: Behaviour) -> Self:
        return cls(behaviours[0], behaviours[1:])

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.socket.listen(256)  # more than five may knock at once
        self._server.daemon_threads = True
        self._server.faulty = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def behaviour(self) -> Behaviour:
        listed = (self.first, *self.then)
        return listed[min(len(self.asked), len(listed)) - 1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(b"", dict(parse_qsl(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.answer(body, json.loads(body))

    def answer(self, body: bytes, asked: dict[str, Any]) -> None:
        faulty: FaultyServer = self.server.faulty  # type: ignore[attr-defined]
        faulty.asked.append({"path": self.path, **asked})
        faulty.bodies.append(body)
        faulty.headers.append({name.lower(): value for name, value in self.headers.items()})
        try:
            faulty.behaviour()(self, asked)
        except OSError:
            faulty.gone.set()
            self.close_connection = True

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, claim: int | None = None) -> None:
        """``claim``: the content-length to announce, when it is not the body's own."""
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body) if claim is None else claim))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = claim is not None

    def stream(self, parts: Iterable[bytes], *, content_type: str, pause: float, ended: bool) -> None:
        """Each part as a chunk of its own, as soon as it is there. Not ``ended``: the connection breaks off instead."""
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for part in parts:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.flush()
            time.sleep(pause)
        if ended:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = not ended

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Says nothing."""


def chat(*texts: str, logprobs: bool = True, honours_n: bool = True, model: str = "m-1") -> Behaviour:
    """A well-behaved chat server that says the texts in turn."""

    def behave(handler: _Handler, asked: dict[str, Any]) -> None:
        n = asked.get("n", 1) if honours_n else 1
        place = len(handler.server.faulty.asked)  # type: ignore[attr-defined]
        choices = []
        for i in range(n):
            text = texts[(place + i) % len(texts)]
            choice = {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            if logprobs and asked.get("logprobs"):
                choice["logprobs"] = {
                    "content": [{"token": text, "logprob": -0.2, "top_logprobs": [{"token": text, "logprob": -0.2}]}]
                }
            choices.append(choice)
        usage = {"prompt_tokens": 7, "completion_tokens": 2 * n, "total_tokens": 7 + 2 * n}
        handler.send(200, json.dumps({"model": model, "choices": choices, "usage": usage}).encode())

    return behave


def embeds(handler: _Handler, asked: dict[str, Any]) -> None:
    """A well-behaved server of embeddings, the last text first: [words, 1, 0] a text, in no particular length."""
    rows = [[float(len(text.split())), 1, 0] for text in asked["input"]]
    data = [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(rows)]
    usage = {"prompt_tokens": 3 * len(rows), "total_tokens": 3 * len(rows)}
    handler.send(200, json.dumps({"object": "list", "data": data[::-1], "usage": usage}).encode())


def refuses(field: str) -> Behaviour:
    """400 in OpenAI's shape as long as the field is there; answers otherwise."""

    def behave(handler: _Handler, asked: dict[str, Any]) -> None:
        if field in asked:
            message = f"Unsupported parameter: '{field}' is not supported with this model."
            handler.send(400, json.dumps({"error": {"message": message, "param": field}}).encode())
        else:
            chat("Nigeria")(handler, asked)

    return behave


def echoes(code: int = 400) -> Behaviour:
    """Refuses with the user's own words in its message, as content filters do."""

    def behave(handler: _Handler, asked: dict[str, Any]) -> None:
        message = f"Invalid prompt: {asked['messages'][-1]['content']}"
        handler.send(code, json.dumps({"error": {"message": message}}).encode())

    return behave


def status(code: int, body: bytes = b'{"error": {"message": "no"}}', **headers: str) -> Behaviour:
    return lambda handler, asked: handler.send(code, body, {k.replace("_", "-"): v for k, v in headers.items()})


def says(body: bytes, content_type: str = "application/json") -> Behaviour:
    return lambda handler, asked: handler.send(200, body, {"content-type": content_type})


def cut_mid_body(handler: _Handler, asked: dict[str, Any]) -> None:
    handler.send(200, b'{"choices": [', claim=1000)


def resets(handler: _Handler, asked: dict[str, Any]) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    raise ConnectionResetError


def silent(seconds: float = 20.0) -> Behaviour:
    """Says nothing until the client goes away, or for so long."""

    def behave(handler: _Handler, asked: dict[str, Any]) -> None:
        until = time.monotonic() + seconds
        handler.connection.settimeout(0.05)
        while time.monotonic() < until:
            try:
                if handler.connection.recv(1, socket.MSG_PEEK) == b"":
                    raise ConnectionResetError
            except TimeoutError:
                continue
        raise ConnectionResetError

    return behave


def trickles(handler: _Handler, asked: dict[str, Any]) -> None:
    """Sends a byte every tenth of a second, for up to twenty seconds."""
    handler.send(200, b"{", claim=10_000)
    for _ in range(200):
        time.sleep(0.1)
        handler.wfile.write(b" ")
        handler.wfile.flush()


# --- streams -----------------------------------------------------------------------------------------------------

DONE = b"data: [DONE]\n\n"


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def listed(*texts: str) -> dict[str, Any]:
    """The log-probabilities of these tokens, less likely one after the other."""
    content = [
        {"token": text, "logprob": -0.1 * (place + 1), "top_logprobs": [{"token": text, "logprob": -0.1}]}
        for place, text in enumerate(texts)
    ]
    return {"content": content}


def chunk(text: str | None = None, *, finish: str | None = None, **fields: Any) -> bytes:
    """The event of one chunk of the answer. ``fields`` are the choice's others."""
    delta = {} if text is None else {"content": text}
    return event({"model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **fields}]})


def written(*texts: str, usage: bool = True, logprobs: bool = True) -> list[bytes]:
    """A well-behaved stream of these tokens, event by event."""
    told = listed(*texts)["content"]
    parts = [chunk("", logprobs=None)]
    parts += [
        chunk(text, **({"logprobs": {"content": [one]}} if logprobs else {}))
        for text, one in zip(texts, told, strict=True)
    ]
    parts += [chunk(finish="stop")]
    counted = {"prompt_tokens": 7, "completion_tokens": len(texts), "total_tokens": 7 + len(texts)}
    parts += [event({"model": "m-1", "choices": [], "usage": counted})] if usage else []
    return [*parts, DONE]


def writes(*texts: str, pause: float = 0.0) -> Behaviour:
    """A well-behaved chat server that says the tokens of one answer: as a stream where it is asked to, else at once."""

    def behave(handler: _Handler, asked: dict[str, Any]) -> None:
        wanted = bool(asked.get("logprobs"))
        if asked.get("stream"):
            counted = bool(asked.get("stream_options", {}).get("include_usage"))
            parts = written(*texts, usage=counted, logprobs=wanted)
            handler.stream(parts, content_type="text/event-stream", pause=pause, ended=True)
            return
        message = {"role": "assistant", "content": "".join(texts)}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": "stop",
            "logprobs": listed(*texts) if wanted else None,
        }
        usage = {"prompt_tokens": 7, "completion_tokens": len(texts), "total_tokens": 7 + len(texts)}
        handler.send(200, json.dumps({"model": "m-1", "choices": [choice], "usage": usage}).encode())

    return behave


def streams(
    *parts: bytes,
    ended: bool = True,
    hangs: bool = False,
    pause: float = 0.0,
    content_type: str = "text/event-stream",
) -> Behaviour:
    """Streams these bytes to whoever asks. Then it says no more until the client goes (``hangs``), breaks off (not
    ``ended``, after a ``pause``: of what comes in one moment with the end of a connection a client may see none), or
    ends."""

    def behave(handler: _Handler, asked: dict[str, Any]) -> None:
        handler.stream(parts, content_type=content_type, pause=0.0, ended=ended and not hangs)
        time.sleep(pause)
        if hangs:
            silent()(handler, asked)

    return behave
