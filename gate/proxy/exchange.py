"""One HTTP exchange as the doors see it: headers looked up once, the body read whole, one reply. Plain ASGI.

The doors are on the hot path, where Starlette's request and response objects would take as long as deciding does.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Sending = Callable[[Message], Awaitable[None]]


class ClientGone(Exception):
    """The client has closed its connection before its response was through."""


class Exchange:
    """A request and the way back. Times are on the monotonic clock."""

    __slots__ = (
        "_receive",
        "_send",
        "_wire_headers",
        "began",
        "decided",
        "ended",
        "headers",
        "request_id",
        "scope",
        "started",
        "superseded",
        "tapped",
    )

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        state: Mapping[str, Any] = scope.get("state", {})
        self.began: float = state.get("began") or time.monotonic()
        """When the whole request was there; before that it was the client's time."""
        self.ended: float | None = None
        """When the last byte of the response was handed to the server."""
        self.started = False
        """Whether a response is under way: then no other can be sent."""
        self.decided = False
        """Whether what is sent is what was decided, and no error."""
        self.tapped = False
        """Whether what is sent goes through somebody who writes it down."""
        self.superseded = False
        """Whether another response went out than the one that was decided here."""
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        """By lower-case name; of one that stands twice the last."""
        self.request_id: str = state.get("request_id", "")
        self._receive = receive
        self._send = send
        self._wire_headers: dict[bytes, bytes] = {}

    def header(self, name: bytes) -> str | None:
        """A request header's value; None when it is not there. Bytes that are no ASCII stand as question marks."""
        value = self.headers.get(name)
        return None if value is None else value.decode("ascii", "replace")

    async def body(self) -> bytes:
        """The whole body. Its length is limited before it comes here. Raises `ClientGone`."""
        message = await self._receive()
        whole: bytes = message.get("body", b"")
        while message.get("more_body", False) and message["type"] == "http.request":
            message = await self._receive()
            whole += message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise ClientGone
        return whole

    async def gone(self) -> None:
        """Returns once the client has closed its connection, or the response is over: to a server that is one."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def tap(self, through: Callable[[Message, Sending], Awaitable[None]]) -> None:
        """Give all that is to be sent from now on to this, which sends it on."""
        send: Sending = self._send

        async def tapped(message: Message) -> None:
            await through(message, send)

        self._send, self.tapped = tapped, True

    def supersede(self, send: Sending, prefix: bytes) -> None:
        """Another response is sent than the one that was, which went no further than to whoever taps: what comes goes
        by ``send``, and no header stays whose name begins so."""
        self._send, self.superseded = send, True
        self._wire_headers = {name: said for name, said in self._wire_headers.items() if not name.startswith(prefix)}

    def mark(self, headers: Mapping[str, str]) -> None:
        """More headers for the response, whatever it will be. What is marked later goes before."""
        for name, value in headers.items():
            self._wire_headers[name.encode("ascii")] = value.encode("latin-1", "replace")

    async def reply(self, status: int, content: bytes, kind: bytes = b"application/json") -> None:
        await self._begin(status, kind, [(b"content-length", str(len(content)).encode("ascii"))])
        await self._end(content)

    async def start_events(self, status: int = 200) -> None:
        """Begin a response of server-sent events."""
        await self._begin(
            status,
            b"text/event-stream; charset=utf-8",
            [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")],
        )

    async def events(self, parts: Iterable[bytes]) -> None:
        """Send server-sent events, each complete with its empty line, as one piece of the response."""
        content = b"".join(parts)
        if content:
            await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def end_events(self, parts: Iterable[bytes] = ()) -> None:
        """Send the last of them, and end the response."""
        await self._end(b"".join(parts))

    async def _begin(self, status: int, kind: bytes, more: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        headers = [*self._wire_headers.items(), (b"content-type", kind), *more]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _end(self, content: bytes) -> None:
        self.ended = time.monotonic()  # first: from here on a closed connection is no client that left
        await self._send({"type": "http.response.body", "body": content})
