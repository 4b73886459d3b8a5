"""The way in: what a request may look like, how large and how slow it may be, and how many are worked on at once.

Plain ASGI, outermost, on the path of every request. The whole body is read before a request gets a place to be worked
on, so that a client which sends slowly keeps nobody else out; of all bodies together no more is held than `MOST_HELD`.
Where there are keys, who brings none has no body read: only those who were let in can fill that up.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from math import ceil

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gate.fresh_bytes import fresh_bytes
from gate.proxy.json_wire import dumps
from gate.proxy.settings import LimitSettings
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
    {b"authorization", b"x-api-key", b"host", b"content-length", b"content-type", b"transfer-encoding", b"x-request-id"}
)
"""Headers of which a second one would leave open which counts."""
_CLOSE = (b"connection", b"close")
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


class _Gone(Exception):
    """The client has closed its connection."""


class _Turn(Enum):
    COME = auto()
    LATE = auto()
    GONE = auto()


@dataclass(slots=True)
class _Head:
    """What the headers say that matters here."""

    headers: list[tuple[bytes, bytes]]
    request_id: bytes
    length: int = 0
    chunked: bool = False
    refusal: _Refusal | None = None


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
        known: Callable[[Headers], bool] | None = None,
    ) -> None:
        """``known``: whether the headers hold a key that is one. Of a stranger under `KEYED` no body is read."""
        self._app = app
        self._limits = limits
        self._known = known
        self._exempt = frozenset(exempt)
        self._free = limits.concurrency
        self._queue: deque[asyncio.Future[_Turn]] = deque()
        self._reading = 0
        self._aside = 0
        self._held = 0
        self.turned_away: Counter[str] = Counter()
        """How many, by the code of the error."""

    @property
    def under_way(self) -> int:
        return self._limits.concurrency - self._free

    @property
    def waiting(self) -> int:
        return len(self._queue)

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
            if (head.length or head.chunked) and keyed and self._known and not self._known(head.headers):
                await self._refused(scope, receive, send)
                return
            if head.length or head.chunked:
                body = await (self._body(head, receive) if keyed else self._small_body(head, receive))
            state["began"] = time.monotonic()
            await self._admitted(scope, _replayed(body, receive), receive, send)
        except _Refusal as refusal:
            self.turned_away[refusal.code] += 1
            await _answer(refusal, receive, send, 4 * self._limits.body_bytes)
        except _Gone:
            pass  # nobody to tell
        finally:
            self._held -= len(body)

    async def _admitted(self, scope: Scope, replayed: Receive, receive: Receive, send: Send) -> None:
        if scope["path"] in self._exempt:
            await self._app(scope, replayed, send)
            return
        if self._free:
            self._free -= 1
        else:
            await self._wait(receive)
        try:
            await self._app(scope, replayed, send)
        finally:
            self._hand_on()

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
            raise self._full("too many forms are being sent at once", unread=True)
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
            raise self._full("too many requests are being sent at once", unread=True)
        self._reading += 1
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(limits.read_seconds):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise _Gone
                    part = message.get("body", b"")
                    parts.append(part)
                    size += len(part)
                    self._held += len(part)
                    if size > most:
                        raise _too_large(most)
                    if self._held > max(MOST_HELD, limits.body_bytes):
                        raise self._full("the requests under way are too large together", unread=True)
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

    # --- the waiting room ----------------------------------------------------------------------------------------

    async def _wait(self, receive: Receive) -> None:
        """Until it is this request's turn: first come, first served."""
        if len(self._queue) >= self._limits.waiting:
            raise self._full("too many requests are being answered, and as many wait as may")
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[_Turn] = loop.create_future()
        late = loop.call_later(self._limits.wait_seconds, _tell, turn, _Turn.LATE)
        self._queue.append(turn)
        came = None
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(_watch(receive, turn))
                came = await turn
                watching.cancel()
        finally:
            late.cancel()
            if turn.done() and not turn.cancelled() and turn.result() is _Turn.COME:
                if came is None:  # cancelled in the moment when its turn had come
                    self._hand_on()
            else:
                with suppress(ValueError):  # who hands on may have passed over it already
                    self._queue.remove(turn)
        if came is _Turn.LATE:
            raise self._full(f"too many requests are being answered; this one waited {self._limits.wait_seconds:g} s")
        if came is _Turn.GONE:
            raise _Gone

    def _hand_on(self) -> None:
        """A place is free: for the one who waits longest, else for the next to come."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(_Turn.COME)
                return
        self._free += 1

    def _full(self, message: str, *, unread: bool = False) -> _Refusal:
        wait = max(1, ceil(self._limits.wait_seconds))  # by then all who wait now have had their turn or were refused
        return _Refusal(503, f"{message}; try again later", "overloaded", unread=unread, retry_after=wait)


async def _watch(receive: Receive, turn: asyncio.Future[_Turn]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    _tell(turn, _Turn.GONE)


def _tell(turn: asyncio.Future[_Turn], what: _Turn) -> None:
    if not turn.done():
        turn.set_result(what)


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
        head.headers.append(pair)
    if head.chunked and b"content-length" in seen:
        head.refusal = _bad("'content-length' and 'transfer-encoding' go not together")
    if not _ID.fullmatch(head.request_id):
        head.request_id = b"req_" + fresh_bytes().hex().encode("ascii")
    head.headers.append((b"x-request-id", head.request_id))
    return head


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
