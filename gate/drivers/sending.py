"""Sending requests to servers: over one pool of connections on the caller's event loop, or on one behind it."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import aiohttp

from gate.drivers.hedging import Second, hedged
from gate.drivers.live import read_live
from gate.drivers.retrying import HTTP_ERRORS, MAX_BODY, http_arguments, http_error, too_long
from gate.drivers.world import Value, faults_of
from gate.effects import Generate, Request
from gate.errors import GateError
from gate.live_ports import AwaitableUpstream, LiveWireUpstream, Piece
from gate.ports import WireEndpoint

_CONNECTIONS = 1024
"""Open at once; more wait. How many requests there are at once is for others to limit."""


class Sender:
    """Sends on the running event loop. One a loop; cancelling ``send`` closes its connection at once.

    Over aiohttp itself: with httpx before it, half of the processor time that a gated request takes would be its.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def send(self, endpoint: WireEndpoint[Any, Value], effect: Request, second: Second | None = None) -> Value:
        """``second``: the request beside it that there may be."""
        if second is None:
            return await self._sent(endpoint, effect)
        return await hedged(lambda: self._sent(endpoint, effect), second)

    async def _sent(self, endpoint: WireEndpoint[Any, Value], effect: Request) -> Value:
        request = endpoint.encode(effect)
        body = bytearray()
        try:
            async with self._open().request(**http_arguments(request)) as response:
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise too_long(endpoint.name)
        except HTTP_ERRORS as error:
            raise http_error(endpoint.name, error) from error
        return endpoint.decode(response.status, response.headers, bytes(body))

    async def send_live(
        self, upstream: LiveWireUpstream, effect: Generate, sees: Callable[[Piece], Awaitable[bool]]
    ) -> Value:
        """``send``, showing each piece of the answer as it comes. What cannot be streamed is sent as ever."""
        request = upstream.encode_live(effect)
        if request is None:
            return await self.send(upstream, effect)
        try:
            async with self._open().request(**http_arguments(request)) as response:
                return await read_live(upstream, response, sees)
        except HTTP_ERRORS as error:
            raise http_error(upstream.name, error) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # here, because it takes hold of the running loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=None),  # drivers keep time
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


async def awaited(upstream: AwaitableUpstream, effect: Generate) -> Value:
    """The reply. Any fault of the upstream's is an `UpstreamError`, as a server's would be."""
    with faults_of(upstream.name, GateError):
        return await upstream.acomplete(effect)


class BackgroundSender:
    """A `Sender` on an event loop of its own, on a thread, for callers that have none.

    A thread that waits for a socket cannot be called off; a task can. The loop ends with ``close``, or with whoever
    held the last reference.
    """

    def __init__(self) -> None:
        self._sender = Sender()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_serve, args=(self._loop, self._sender), name="gate-http", daemon=True)
        self._thread.start()
        self._closing = weakref.finalize(self, _stop, self._loop, self._thread)

    @property
    def alive(self) -> bool:
        """False in a process forked from the one that made it: threads stay behind."""
        return self._thread.is_alive()

    def send(self, endpoint: WireEndpoint[Any, Value], effect: Request, second: Second | None = None) -> Future[Value]:
        """Cancelling the future closes the connection. It is cancelled by ``close`` too."""
        return asyncio.run_coroutine_threadsafe(self._sender.send(endpoint, effect, second), self._loop)

    def send_live(
        self, upstream: LiveWireUpstream, effect: Generate, sees: Callable[[Piece], Awaitable[bool]]
    ) -> Future[Value]:
        """Likewise. ``sees`` is awaited on the loop behind."""
        return asyncio.run_coroutine_threadsafe(self._sender.send_live(upstream, effect, sees), self._loop)

    def wait_for(self, upstream: AwaitableUpstream, effect: Generate) -> Future[Value]:
        """The reply of an upstream in this process that waits on a loop. Cancelling the future calls it off."""
        return asyncio.run_coroutine_threadsafe(awaited(upstream, effect), self._loop)

    def close(self) -> None:
        """Break off what is under way and close every connection. Closing twice does nothing."""
        self._closing()


def _serve(loop: asyncio.AbstractEventLoop, sender: Sender) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(sender.aclose())
        loop.run_until_complete(loop.shutdown_default_executor())  # names are looked up there
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if thread.is_alive():
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():  # whose garbage collection may have brought us here
            thread.join()
