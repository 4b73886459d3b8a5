"""Sending requests to servers: over one pool of connections on the caller's event loop, or on one behind it."""

from __future__ import annotations

import asyncio
import threading
import weakref
from concurrent.futures import Future
from typing import Any

import httpx
from httpx_aiohttp import AiohttpTransport

from gate.drivers.retrying import HTTP_ERRORS, MAX_BODY, http_arguments, http_error, too_long
from gate.drivers.world import Value
from gate.effects import Request
from gate.ports import WireEndpoint


class Sender:
    """Sends on the running event loop. One a loop; cancelling ``send`` closes its connection at once."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(transport=AiohttpTransport(), timeout=None)  # noqa: S113 - drivers keep time

    async def send(self, endpoint: WireEndpoint[Any, Value], effect: Request) -> Value:
        request = endpoint.encode(effect)
        body = bytearray()
        try:
            async with self._client.stream(**http_arguments(request)) as response:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise too_long(endpoint.name)
        except HTTP_ERRORS as error:
            raise http_error(endpoint.name, error) from error
        return endpoint.decode(response.status_code, response.headers, bytes(body))

    async def aclose(self) -> None:
        await self._client.aclose()


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

    def send(self, endpoint: WireEndpoint[Any, Value], effect: Request) -> Future[Value]:
        """Cancelling the future closes the connection. It is cancelled by ``close`` too."""
        return asyncio.run_coroutine_threadsafe(self._sender.send(endpoint, effect), self._loop)

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
