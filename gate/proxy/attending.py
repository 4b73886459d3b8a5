"""Working for a client for as long as it is there: when it closes its connection, the work is cancelled at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from gate.errors import first_of
from gate.proxy.exchange import ClientGone, Exchange

T = TypeVar("T")


async def while_connected(exchange: Exchange, work: Awaitable[T]) -> T:
    """What the work comes to. Raises `ClientGone` when the client has left, once all that was under way has stopped.

    A client that leaves when its response is over has not left. Work that comes to something all the same, because it
    was through or would not stop, is not lost.
    """
    worker = cast("asyncio.Task[Any]", asyncio.current_task())
    before, gone = worker.cancelling(), False

    async def watch() -> None:
        nonlocal gone
        await exchange.gone()
        if exchange.ended is None:
            gone = True
            worker.cancel()

    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch())
            try:
                return await work
            finally:
                watching.cancel()
    except asyncio.CancelledError:
        if gone and worker.cancelling() == before + 1:
            raise ClientGone from None
        raise  # somebody else has cancelled it too, and that goes before
    except BaseExceptionGroup as errors:  # of one: the group is only there to watch
        raise first_of(errors) from None
    finally:
        if gone:
            worker.uncancel()
