"""Run flows on an asyncio event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import tenacity

from gate.drivers.hedging import Second
from gate.drivers.live import Watch, complete_live
from gate.drivers.retrying import retrying
from gate.drivers.sending import Sender, awaited
from gate.drivers.world import (
    NO_DEADLINE,
    Recording,
    Value,
    World,
    called_off,
    completed,
    cost_of,
    faults_of,
    in_full,
    search_failed,
    tape_entry,
)
from gate.effects import (
    Call,
    Done,
    Effect,
    Embed,
    Entail,
    Flow,
    Generate,
    HandOver,
    Observe,
    Reply,
    Request,
    Retrieve,
    Together,
    advance,
)
from gate.errors import GateError, UpstreamError, UpstreamTimeout, first_of
from gate.live_ports import LiveUpstream, is_awaitable, is_live
from gate.ports import Endpoint, LocalEndpoint, is_local

T = TypeVar("T")
_LOCAL_THREADS = 4


class AsyncDriver:
    """Runs flows on the current event loop. One a loop; close it with ``aclose``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sender = Sender()
        self._threads = ThreadPoolExecutor(_LOCAL_THREADS, thread_name_prefix="gate-local")

    async def aclose(self) -> None:
        await self._sender.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, flow: Flow[T], recording: Recording, *, seconds: float | None = None) -> T:
        """The flow's result. After ``seconds``, effects fail with `UpstreamTimeout`."""
        deadline = NO_DEADLINE if seconds is None else time.monotonic() + seconds
        return await self._drive(flow, recording, deadline)

    async def _drive(self, flow: Flow[T], recording: Recording, deadline: float) -> T:
        reply: Any = None
        error: GateError | None = None
        try:
            while True:
                effect = advance(flow, reply, error)
                if isinstance(effect, Done):
                    return effect.result
                reply, error = None, None
                try:
                    reply = await self._perform(effect, recording, deadline)
                except GateError as raised:
                    error = raised
        finally:
            flow.close()

    async def _perform(self, effect: Effect, recording: Recording, deadline: float) -> Any:
        match effect:
            case Generate() | Embed() | Entail() | Retrieve() | HandOver():
                return await self._ask(effect, recording, deadline)
            case Together(flows):
                return await self._together(flows, recording, deadline)
            case Call():
                return await _called(effect, deadline)
            case Observe(step):
                recording.steps.append(step)
                return None

    async def _together(self, flows: tuple[Flow[Any], ...], recording: Recording, deadline: float) -> tuple[Any, ...]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._drive(flow, recording, deadline)) for flow in flows]
        except* GateError as errors:
            raise _first(errors) from None
        finally:
            for flow in flows:  # those never started
                flow.close()
        return tuple(task.result() for task in tasks)

    async def _ask(self, effect: Request, recording: Recording, deadline: float) -> Reply[Value]:
        world, began, calls, twice = self._world, time.monotonic(), 0, False
        until, health = world.deadline(effect, deadline), world.health_of(effect)
        watch = None if recording.live is None else Watch.begun(effect, recording.live)

        async def attempt(asked: Request) -> Value:
            nonlocal calls, twice
            pause = health.pause(until, asked)
            while pause:
                await asyncio.sleep(pause)
                pause = health.pause(until, asked)
            with health.attempt(asked, began, watched=watch is not None) as made:
                calls += 1
                try:
                    return in_full(asked, await self._once(world.endpoint(asked), asked, until, watch, made.second))
                finally:
                    twice = made.second is not None and made.second.sent
                    calls += twice

        try:
            value = await self._adapting(effect, attempt, until)
        except UpstreamError as error:
            error.cost = cost_of(world, effect, calls, began)
            recording.tape.append(tape_entry(effect, error.cost, error=error, keyed=recording.keyed))
            if isinstance(effect, Retrieve):
                raise search_failed(effect, error) from error
            raise
        except asyncio.CancelledError:
            written = watch.written if watch is not None else 0
            recording.called_off += called_off(world, effect, calls, began, written)
            raise
        if watch is not None:
            value = watch.done(effect, value)
        cost = cost_of(world, effect, calls, began, value, twice=twice)
        recording.tape.append(tape_entry(effect, cost, value, keyed=recording.keyed))
        return Reply(value, cost)

    async def _adapting(
        self, effect: Request, attempt: Callable[[Request], Coroutine[Any, Any, Value]], until: float
    ) -> Value:
        """Retry what may pass; drop fields of gate's own that are refused, and remember them if it helped."""
        asked, dropped, once = self._world.trimmed(effect), frozenset[str](), isinstance(effect, HandOver)
        while True:
            try:
                value = await _retried(attempt, asked, until, once=once)
            except UpstreamError as error:
                asked, names = self._world.relieved(asked, error)
                dropped |= names
            else:
                self._world.learn(effect, asked, dropped)
                return value

    async def _once(
        self, endpoint: Endpoint, effect: Request, until: float, watch: Watch | None, second: Second | None
    ) -> Value:
        try:
            async with asyncio.timeout_at(_loop_time(until)):
                if watch is not None and watch.streams(effect) and is_live(endpoint):
                    return await self._watched(endpoint, effect, watch)
                if is_local(endpoint):
                    return await self._local(endpoint, effect)
                return await self._sender.send(endpoint, effect, second)
        except TimeoutError:
            raise UpstreamTimeout(endpoint.name, "did not answer before the deadline") from None

    async def _watched(self, endpoint: LiveUpstream, effect: Generate, watch: Watch) -> Value:
        try:
            if is_local(endpoint):
                return await complete_live(self._threads, endpoint, effect, watch)
            return await self._sender.send_live(endpoint, effect, watch.sees)
        except UpstreamError as error:
            error.final = watch.grown
            raise

    async def _local(self, endpoint: LocalEndpoint[Any, Value], effect: Request) -> Value:
        if is_awaitable(endpoint) and isinstance(effect, Generate):
            return await awaited(endpoint, effect)
        cancelled = threading.Event()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, completed, endpoint, effect, cancelled.is_set)
        except asyncio.CancelledError:
            cancelled.set()
            raise


async def _called(effect: Call, deadline: float) -> Any:
    if time.monotonic() >= deadline:
        raise UpstreamTimeout(effect.name, "was not asked: the deadline is over")
    try:
        async with asyncio.timeout_at(_loop_time(deadline)):
            with faults_of(effect.name, UpstreamError if effect.own_words else None):
                return await effect.function()
    except TimeoutError:
        raise UpstreamTimeout(effect.name, "did not answer before the deadline") from None


async def _retried(
    attempt: Callable[[Request], Coroutine[Any, Any, Value]], asked: Request, until: float, *, once: bool
) -> Value:
    """Tenacity is called in once the first attempt has failed: to set it up takes longer than all of that."""
    failed: list[UpstreamError] = []
    try:
        return await attempt(asked)
    except UpstreamError as error:
        failed.append(error)

    async def again(asked: Request) -> Value:
        if failed:
            raise failed.pop()
        return await attempt(asked)

    return await tenacity.AsyncRetrying(**retrying(until, once=once))(again, asked)


def _loop_time(until: float) -> float | None:
    """A monotonic time as the running loop's own clock has it."""
    if until == NO_DEADLINE:
        return None
    return asyncio.get_running_loop().time() + until - time.monotonic()


def _first(errors: BaseExceptionGroup[GateError]) -> GateError:
    inner = first_of(errors)
    return inner if isinstance(inner, GateError) else GateError(str(inner))
