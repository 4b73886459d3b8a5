"""A response written down on its way out, and kept before its end is sent: what a client has seen whole is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gate.proxy.exchange import Exchange, Sending

_OURS = "x-gate-"
REPLAYED = "x-gate-idempotent-replay"
"""The header of a response that answered the same request before."""
STATE = "x-gate-idempotency"
"""The header that says where a key does not, or may not, do what it is for."""


@dataclass(frozen=True, slots=True)
class Response:
    """One that can be sent again."""

    status: int
    streamed: bool
    headers: Mapping[str, str]
    """Those of the decision."""
    body: bytes

    def packed(self) -> bytes:
        return orjson.dumps([self.status, self.streamed, dict(self.headers)]) + b"\n" + self.body

    @classmethod
    def unpacked(cls, packed: bytes) -> Response:
        head, _, body = packed.partition(b"\n")
        status, streamed, headers = orjson.loads(head)
        return cls(status, streamed, headers, body)

    async def send(self, exchange: Exchange) -> None:
        exchange.mark(self.headers)
        if self.streamed:
            await exchange.start_events(self.status)
            await exchange.end_events([self.body])
        else:
            await exchange.reply(self.status, self.body)


class Recorder:
    """Writes down what an exchange sends, where that is a decision."""

    def __init__(
        self, exchange: Exchange, skip: bytes, most: int, keep: Callable[[Response | None], Awaitable[Response | bool]]
    ) -> None:
        """``skip``: what keeps a stream alive. ``keep`` takes the whole response, None where that is larger than
        ``most`` bytes, and says whether it is known to be kept, or gives the one that is kept instead. That is sent,
        where nothing was yet."""
        self._exchange = exchange
        self._skip = skip
        self._most = most
        self._keep = keep
        self._start: dict[str, Any] | None = None
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._size = 0
        exchange.tap(self._pass_on)

    async def _pass_on(self, message: dict[str, Any], send: Sending) -> None:
        if message["type"] == "http.response.start":  # held until there is something to send behind it
            self._start, self._status, self._headers = message, message["status"], message["headers"]
            return
        body: bytes = message.get("body", b"")
        if body != self._skip:
            self._size += len(body)
            if self._size > self._most:
                self._parts.clear()
            else:
                self._parts.append(body)
        start, self._start = self._start, None
        if not message.get("more_body", False) and self._exchange.decided:
            kept = await self._keep(self._response())
            if isinstance(kept, Response) and start is not None:
                self._exchange.supersede(send, _OURS.encode())
                self._exchange.mark({REPLAYED: "true"})
                await kept.send(self._exchange)
                return
            if kept is not True and start is not None:
                start = {**start, "headers": [*start["headers"], (STATE.encode(), b"unconfirmed")]}
        if start is not None:
            await send(start)
        await send(message)

    def _response(self) -> Response | None:
        if self._size > self._most:
            return None
        said = {name.decode("ascii"): value.decode("latin-1") for name, value in self._headers}
        streamed = said["content-type"].startswith("text/event-stream")
        ours = {name: value for name, value in said.items() if name.startswith(_OURS)}
        return Response(self._status, streamed, ours, b"".join(self._parts))
