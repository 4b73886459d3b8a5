"""uvicorn's HTTP with limits before a request is one: how large its headers may be, how many, and how slow.

What uvicorn does by itself: it takes headers of any size (20 MB in one are seconds of work) and number, waits without
end for a first request or the rest of its headers, takes trailers that follow a body for headers, and loses the body of
a request that offers to speak another protocol, as Java's client does each time. Its parser does refuse what is
ambiguous: two lengths, a length and chunks, unknown last encodings, bare CR or LF, names that are none.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gate.proxy.coalescing import CoalescingTransport
from gate.proxy.json_wire import dumps
from gate.proxy.settings import LimitSettings

MOST_HEADERS = 256
STALLED = 60.0
"""Seconds in which a client must take at least `LEAST` bytes of what is written to it, or it is given up."""
LEAST = 16 * 2**10
_TOO_MANY = f"the headers are too large, or more than {MOST_HEADERS}"
_REFUSALS = {
    400: ("this is no HTTP request", "bad_request"),
    408: ("the request's headers were not sent in time", "request_timeout"),
    431: (_TOO_MANY, "headers_too_large"),
}


class _Refused(Exception):
    """Raised out of a callback of the parser, which ends the parsing."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, limits: LimitSettings, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits = limits
        self._status = 400
        self._in_headers = False
        self._moved = True
        """Whether the parser came upon something new in the last bytes, and did not just collect them."""
        self._collected = 0
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    # --- the connection ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(CoalescingTransport(transport, self.loop))
        self._late = self.loop.call_later(self._limits.read_seconds, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._no_longer_late()
        self._no_longer_stalled()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._moved = False
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self.send_400_response("")
        if self._moved:
            self._collected = 0
        else:
            self._collected += len(data)
            if self._collected > self._limits.header_bytes and not self.transport.is_closing():
                self._status = 431 if self._in_headers else 400
                self.send_400_response("")
        if self._busy():
            self._no_longer_late()
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(self._limits.read_seconds, self._too_late)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._no_longer_stalled()
        self._watch_for_stall()

    def resume_writing(self) -> None:
        self._no_longer_stalled()
        super().resume_writing()

    # --- the parser ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_headers = self._moved = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:  # else it is a trailer, which nothing here has a use for
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.header_bytes or len(self.headers) > MOST_HEADERS:
            self._status = 431
            raise _Refused
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise _Refused
            return  # the parser is about to stop: see `_without_upgrade`
        self._in_headers, self._moved = False, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved = True
        if not self._in_headers:
            super().on_message_complete()

    def _without_upgrade(self, rest: bytes) -> None:
        """The request once more without the offer to speak another protocol, which a server may pass over.

        The parser takes all that follows such an offer for the other protocol, also the body of the request.
        """
        head = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
        for name, value in self.headers:
            if name == b"connection":
                value = b"close" if b"close" in value.lower() else b"keep-alive"
            if name not in (b"upgrade", b"http2-settings"):
                head.append(b"%s: %s" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self.data_received(b"\r\n".join([*head, b"", rest]))

    # --- refusing ------------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed, and what is too large or too slow."""
        if self._busy() and self.cycle.response_started:  # into the middle of a response nothing can be written
            self.transport.close()
            return
        message, code = _REFUSALS[self._status]
        body = dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[self._status] + head + body)
        self.transport.close()

    def _too_late(self) -> None:
        self._late = None
        if self.transport.is_closing():
            return
        if self._in_headers:
            self._status = 408
            self.send_400_response("")
        else:  # it has sent nothing: a connection in reserve
            self.transport.close()

    def _watch_for_stall(self) -> None:
        held = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(STALLED, self._look_for_stall, held)

    def _look_for_stall(self, held: int) -> None:
        if held - self.transport.get_write_buffer_size() < LEAST:
            self.transport.abort()
        else:
            self._watch_for_stall()

    def _busy(self) -> bool:
        """Whether a request is being worked on."""
        return bool(self.cycle) and not self.cycle.response_complete

    def _no_longer_late(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _no_longer_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def guarded(limits: LimitSettings) -> type[asyncio.Protocol]:
    """For ``uvicorn.Config(http=…)``; it can be sent to worker processes."""
    return cast(type[asyncio.Protocol], partial(GuardedProtocol, limits=limits))
