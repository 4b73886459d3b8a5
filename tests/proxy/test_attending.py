"""Working for a client while it is there: it leaves, somebody else cancels, the work fails, and all of it at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gate.errors import UpstreamError
from gate.proxy.attending import while_connected
from gate.proxy.exchange import ClientGone, Exchange

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Client:
    """A client that leaves when it is told to."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()
        self.exchange = Exchange({"headers": []}, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        pass


def standing() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def test_what_the_work_comes_to_comes_back_and_nothing_keeps_watching() -> None:
    before = asyncio.all_tasks()

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await while_connected(Client().exchange, work()) == 7
    assert asyncio.all_tasks() == before


async def test_when_the_client_leaves_the_work_is_cancelled_and_has_stopped() -> None:
    client, stopped = Client(), []

    async def work() -> None:
        client.leaves.set()
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.01)
            stopped.append(True)

    with pytest.raises(ClientGone):
        await while_connected(client.exchange, work())
    assert stopped == [True]
    assert standing().cancelling() == 0
    async with asyncio.timeout(5):  # what is cancelled once is not cancelled for good
        await asyncio.sleep(0)


async def test_an_error_of_the_work_comes_alone() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise UpstreamError("small", "is down")

    with pytest.raises(UpstreamError, match="is down"):
        await while_connected(Client().exchange, work())


async def test_an_error_while_it_stops_comes_instead_and_no_cancellation_is_left() -> None:
    client = Client()

    async def work() -> None:
        client.leaves.set()
        try:
            await asyncio.sleep(30)
        finally:
            raise UpstreamError("small", "broke in stopping")

    with pytest.raises(UpstreamError):
        await while_connected(client.exchange, work())
    assert standing().cancelling() == 0


async def test_work_that_is_through_all_the_same_is_not_lost() -> None:
    client = Client()

    async def work() -> str:
        client.leaves.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return "done"
        return ""

    assert await while_connected(client.exchange, work()) == "done"
    assert standing().cancelling() == 0


async def cancelled(work: Callable[[Client], Awaitable[None]]) -> tuple[asyncio.Task[None], BaseException | None]:
    """A task that attends a client, and what ended it when it was cancelled from outside."""
    client, found = Client(), []

    async def attend() -> None:
        try:
            await while_connected(client.exchange, work(client))
        except BaseException as error:
            found.append(error)
            raise

    async with asyncio.TaskGroup() as group:
        task = group.create_task(attend())
        await asyncio.sleep(0.01)
        client.leaves.set() if work is leaving_too else None
        task.cancel()
    return task, found[0]


async def waiting(client: Client) -> None:
    await asyncio.sleep(30)


async def leaving_too(client: Client) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize("work", [waiting, leaving_too])
async def test_a_server_that_stops_goes_before_a_client_that_leaves(work: Any) -> None:
    task, error = await cancelled(work)
    assert task.cancelled()
    assert isinstance(error, asyncio.CancelledError)


async def test_in_a_group_that_fails_meanwhile_the_failure_is_what_is_told() -> None:
    client = Client()

    async def fail() -> None:
        await asyncio.sleep(0.01)
        client.leaves.set()
        raise UpstreamError("small", "beside it")

    async def beside() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await while_connected(client.exchange, asyncio.sleep(30))

    with pytest.raises(BaseExceptionGroup) as errors:
        await beside()
    assert [str(error) for error in errors.value.exceptions] == ["upstream 'small': beside it"]
    assert standing().cancelling() == 0


async def test_a_time_limit_in_the_work_is_its_own() -> None:
    async def work() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        await while_connected(Client().exchange, work())


async def test_once_the_response_is_over_a_closed_connection_is_no_leaving() -> None:
    client = Client()

    async def work() -> str:
        await client.exchange.reply(200, b"{}")
        client.leaves.set()
        await asyncio.sleep(0.01)
        return "went on"

    assert await while_connected(client.exchange, work()) == "went on"
