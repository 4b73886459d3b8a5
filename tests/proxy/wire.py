"""A client in the same process: what it sends, when it leaves, and all that it is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from gate.proxy.doors import CHAT, Door
from gate.proxy.exchange import Exchange
from tests.proxy.reading import Event, asking, events_of


class Wire:
    """One request, and what came back."""

    def __init__(self, door: Door = CHAT, headers: Mapping[str, str] | None = None, **fields: Any) -> None:
        self.leaves = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self.ended = asyncio.Event()
        self._body: bytes | None = json.dumps(asking(door, **fields)).encode()
        wire = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {"type": "http", "method": "POST", "path": door.path, "headers": wire, "state": {"request_id": "req_1"}}
        self.exchange = Exchange(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        assert self.sent or message["type"] == "http.response.start"
        assert not self.ended.is_set(), "something is sent behind the end"
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.ended.set()

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self) -> dict[str, str]:
        """Each of which stands once."""
        listed = [(name.decode(), value.decode()) for name, value in self.sent[0]["headers"]]
        assert len(dict(listed)) == len(listed)
        return dict(listed)

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def events(self) -> list[Event]:
        return list(events_of(iter(self.content.decode().split("\n"))))
