"""The way in: what a request may look like, how large and how slow it may be, and how many are worked on at once.

Plain ASGI, outermost, on the path of every request. The whole body is read before a request gets a place to be worked
on, so that a client which sends slowly keeps nobody else out; of all bodies together no more is held than `MOST_HELD`.
Where there are keys, who brings none has no body read: only those who were let in can fill that up.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gate.fresh_bytes import fresh_bytes
from gate.proxy.json_wire import dumps
from gate.proxy.settings import LimitSettings
from gate.proxy.waiting_room import Gone, NoRoom, WaitingRoom
from gate.proxy.wire_errors import http_error

EXEMPT = frozenset({"/healthz", "/readyz", "/metrics"})
"""Never queued: whoever watches the server must see it also when it is full."""
KEYED = ("/v1/", "/beta/")
"""What begins so takes a key, where there are keys."""
_FORMS, _FORM_BYTES = 64, 64 * 2**10
"""Of everything else so many bodies are read at once, and so many bytes of each."""
MOST_HELD = 256 * 2**20
"""Bytes of the bodies of all requests together, in each worker."""
_LINGER = 1.0
"""Seconds in which the rest of a refused body is thrown away: a connection that is closed on data that was not read may
be reset, and then the client does not see why."""
_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_OURS = b"x-gate-"
_ONCE = frozenset(
    {b"authorization", b"x-api-key", b"host", b"content-length", b"content-type", b"transfer-encoding"}
    | {b"idempotency-key", b"x-request-id"}
)
"""Headers of which a second one would leave open which counts."""
_CLOSE = (b"connection", b"close")
_OVERLOADED = "overloaded"
_PATIENCE = b"x-stainless-read-timeout"
"""How long the clients of OpenAI and Anthropic wait for an answer, in seconds."""
Headers = Sequence[tuple[bytes, bytes]]


class _Refusal(Exception):
    """The answer to a request that is not let in.

    ``unread``: something of its body has not been read, and the connection ends with the answer.
    """

    def __init__(
        self, status: int, message: str, code: str, *, unread: bool = False, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.unread = unread
        self.retry_after = retry_after


@dataclass(slots=True)
class _Head:
    """What the headers say that matters here."""

    headers: list[tuple[bytes, bytes]]
    request_id: bytes
    length: int = 0
    chunked: bool = False
    patience: float = inf
    """Seconds the client waits for an answer, where it says that."""
    refusal: _Refusal | None = None
    client: str | None = None
    """Whose key it brings, once that was asked; None: nobody's."""
    asked: bool = False


class Admission:
    """Lets requests in to an application.

    Whatever the client said, the application sees no ``x-gate-…`` header, and in ``scope["state"]["request_id"]`` (and
    in the header ``x-request-id``, in that of the response too) the client's id where it is one, else a new one.
    ``scope["state"]["began"]`` is when the whole request was there, on the monotonic clock.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: LimitSettings,
        *,
        exempt: Collection[str] = EXEMPT,
        known: Callable[[Headers], str | None] | None = None,
    ) -> None:
        """``known``: the name of the client whose key the headers hold; None for a stranger, of whom no body is read
        under `KEYED`. Without it all are one client."""
        self._app = app
        self._limits = limits
        self._known = known
        self._exempt = frozenset(exempt)
        self._room = WaitingRoom(limits)
        self._reading = 0
        self._aside = 0
        self._held = 0
        self.turned_away: Counter[str] = Counter()
        """How many, by the code of the error."""

    @property
    def under_way(self) -> int:
        return self._room.under_way

    @property
    def waiting(self) -> int:
        return self._room.waiting

    @property
    def shed(self) -> Counter[str]:
        """How many there was too much under way for, by the reason."""
        return self._room.shed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = _read(scope["headers"])
        state = {**scope.get("state", {}), "request_id": head.request_id.decode("ascii")}
        scope = {**scope, "headers": head.headers, "state": state}
        send = _marked(send, head.request_id)
        body = b""
        try:
            if head.refusal is not None:
                raise head.refusal
            keyed = scope["path"].startswith(KEYED)
            if (head.length or head.chunked) and keyed and self._known and self._named(head) is None:
                await self._refused(scope, receive, send)
                return
            if head.length or head.chunked:
                body = await (self._body(head, receive) if keyed else self._small_body(head, receive))
            state["began"] = time.monotonic()
            await self._admitted(head, scope, _replayed(body, receive), receive, send)
        except NoRoom as full:
            self.turned_away[_OVERLOADED] += 1
            await _answer(_overloaded(full), receive, send, 0)
        except _Refusal as refusal:
            self.turned_away[refusal.code] += 1
            await _answer(refusal, receive, send, 4 * self._limits.body_bytes)
        except Gone:
            pass  # nobody to tell
        finally:
            self._held -= len(body)

    async def _admitted(self, head: _Head, scope: Scope, replayed: Receive, receive: Receive, send: Send) -> None:
        if scope["path"] in self._exempt:
            await self._app(scope, replayed, send)
            return
        began = await self._room.enter(receive, self._client(head), head.patience)
        try:
            await self._app(scope, replayed, send)
        finally:
            self._room.leave(began)

    def _client(self, head: _Head) -> str | None:
        """Whose turn it is: that of a client, by its name, however it writes its key. Strangers are all one."""
        return None if self._room.under_way < self._limits.concurrency else self._named(head)

    def _named(self, head: _Head) -> str | None:
        if not head.asked and self._known is not None:
            head.client, head.asked = self._known(head.headers), True
        return head.client

    async def _refused(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's own answer to a stranger, who takes no place and has no body read."""
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)

        await self._app(scope, _replayed(b"", receive), hold)
        start, *parts = held
        await send({**start, "headers": [*start.get("headers", ()), _CLOSE]})
        body = b"".join(part.get("body", b"") for part in parts)
        await _end_unread(body, receive, send, 4 * self._limits.body_bytes)

    # --- the body ------------------------------------------------------------------------------------------------

    async def _small_body(self, head: _Head, receive: Receive) -> bytes:
        """That of a form, of anybody: few at once, and none of them large."""
        if self._aside >= _FORMS:
            raise self._full("too many forms are being sent at once", "sending")
        self._aside += 1
        try:
            return await self._body(head, receive, min(_FORM_BYTES, self._limits.body_bytes))
        finally:
            self._aside -= 1

    async def _body(self, head: _Head, receive: Receive, most: int | None = None) -> bytes:
        """All of it, counted among what is held; at most so many bytes."""
        limits = self._limits
        most = limits.body_bytes if most is None else most
        if head.length > most:
            raise _too_large(most)
        if self._reading >= limits.concurrency + limits.waiting:
            raise self._full("too many requests are being sent at once", "sending")
        self._reading += 1
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(limits.read_seconds):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Gone
                    part = message.get("body", b"")
                    parts.append(part)
                    size += len(part)
                    self._held += len(part)
                    if size > most:
                        raise _too_large(most)
                    if self._held > max(MOST_HELD, limits.body_bytes):
                        raise self._full("the requests under way are too large together", "memory")
                    more = message.get("more_body", False)
        except TimeoutError:
            said = f"the request was not sent within {limits.read_seconds:g} seconds"
            raise _Refusal(408, said, "request_timeout", unread=True) from None
        finally:
            self._reading -= 1
            if more:  # it did not come to its end, whatever the reason
                self._held -= size
                parts.clear()  # the error that is under way would hold them until the rest is thrown away
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _full(self, message: str, reason: str) -> _Refusal:
        return _overloaded(self._room.full(message, reason), unread=True)


def _overloaded(full: NoRoom, *, unread: bool = False) -> _Refusal:
    said = f"{full.message}; try again later"
    return _Refusal(503, said, _OVERLOADED, unread=unread, retry_after=full.seconds)


# --- what comes in -----------------------------------------------------------------------------------------------


def _read(headers: list[tuple[bytes, bytes]]) -> _Head:
    """The headers as the application may see them, in a list of its own: a parser adds trailers to the first."""
    head = _Head([], b"")
    seen: set[bytes] = set()
    for pair in headers:
        name, value = pair
        if name.startswith(_OURS):
            continue
        if name in _ONCE:
            if name in seen and name != b"x-request-id":
                head.refusal = _bad(f"the header {name.decode('ascii')!r} stands twice")
            seen.add(name)
            if name == b"x-request-id":
                head.request_id = value
                continue
            _framing(head, name, value)
        elif name == _PATIENCE:
            head.patience = _seconds(value)
        head.headers.append(pair)
    if head.chunked and b"content-length" in seen:
        head.refusal = _bad("'content-length' and 'transfer-encoding' go not together")
    if not _ID.fullmatch(head.request_id):
        head.request_id = b"req_" + fresh_bytes().hex().encode("ascii")
    head.headers.append((b"x-request-id", head.request_id))
    return head


def _seconds(value: bytes) -> float:
    """No wish of a client's is refused for how it is written."""
    digits = value.replace(b".", b"", 1)
    return float(value) if digits.isdigit() and len(digits) < 16 else inf


def _framing(head: _Head, name: bytes, value: bytes) -> None:
    if name == b"content-length":
        if not value.isdigit() or len(value) > 18:
            head.refusal = _bad("'content-length' must be a number of bytes")
        else:
            head.length = int(value)
    elif name == b"transfer-encoding":
        head.chunked = True
        if value.strip().lower() != b"chunked":
            head.refusal = _Refusal(501, "'transfer-encoding' can be 'chunked' only", "not_implemented", unread=True)


def _bad(message: str) -> _Refusal:
    return _Refusal(400, message, "bad_request", unread=True)


def _too_large(limit: int) -> _Refusal:
    return _Refusal(413, f"the body is larger than {limit} bytes", "request_too_large", unread=True)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body in one piece, and then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


# --- what goes out -----------------------------------------------------------------------------------------------


def _marked(send: Send, request_id: bytes) -> Send:
    mark = (b"x-request-id", request_id)

    def marked(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            others = [pair for pair in message.get("headers", ()) if pair[0] != b"x-request-id"]
            message = {**message, "headers": [*others, mark]}
        return send(message)

    return marked


async def _answer(refusal: _Refusal, receive: Receive, send: Send, most: int) -> None:
    """In OpenAI's shape. Of an unread body up to ``most`` bytes are thrown away before the connection is closed."""
    body = dumps(http_error(refusal.status, refusal.message, refusal.code).body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode("ascii"))]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", str(refusal.retry_after).encode("ascii")))
    if refusal.unread:
        headers.append(_CLOSE)
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    if refusal.unread:
        await _end_unread(body, receive, send, most)
    else:
        await send({"type": "http.response.body", "body": body, "more_body": False})


async def _end_unread(body: bytes, receive: Receive, send: Send, most: int) -> None:
    """The body of a response to a request that was not read: its end comes once the client has had time to see it."""
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await _thrown_away(receive, most)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _thrown_away(receive: Receive, most: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            more = True
            while more and most > 0:
                message = await receive()
                more = message["type"] == "http.request" and message.get("more_body", False)
                most -= len(message.get("body", b""))
