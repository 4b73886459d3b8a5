"""Run flows on threads, for callers without an event loop."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tenacity

from gate.drivers.hedging import Second
from gate.drivers.live import Handover, Watch
from gate.drivers.retrying import retrying
from gate.drivers.sending import BackgroundSender
from gate.drivers.world import (
    NO_DEADLINE,
    Recording,
    Value,
    World,
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
from gate.errors import GateError, UpstreamError, UpstreamTimeout
from gate.live_ports import LiveUpstream, is_awaitable, is_live
from gate.ports import Endpoint, is_local

T = TypeVar("T")
_KEPT = 256
"""Threads at most for what runs side by side; more of it waits."""


class _GivenUp:
    """Whether a run, or the branch of one, is over: then whoever still waits for an upstream lets go."""

    def __init__(self, *outer: Future[None]) -> None:
        self._own: Future[None] = Future()
        self.signals = (*outer, self._own)

    def __call__(self) -> bool:
        return any(signal.done() for signal in self.signals)

    def set(self) -> None:
        self._own.set_result(None)

    def branch(self) -> _GivenUp:
        return _GivenUp(*self.signals)

    def sleep(self, seconds: float) -> None:
        """Until then, or until it is all over."""
        wait(self.signals, timeout=seconds, return_when=FIRST_COMPLETED)


@dataclass(frozen=True, slots=True)
class _Run:
    """One threaded run: its recording, its deadline, and whether it was given up."""

    recording: Recording
    deadline: float
    given_up: _GivenUp = field(default_factory=_GivenUp)
    inner: bool = False
    """Whether it is a branch of one."""


class ThreadedDriver:
    """Runs flows for callers without an event loop. Safe to share between threads; close it with ``close``.

    The caller only ever waits: for a model of this process on a thread, for a server on an event loop behind. So it is
    back by the deadline whatever they do, and when it goes (for a failure elsewhere, or a Ctrl-C) their work is called
    off and their connections are closed.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._sender: BackgroundSender | None = None
        self._kept: ThreadPoolExecutor | None = None
        self._closed = False

    def close(self) -> None:
        with self._lock:
            sender, self._sender, self._closed = self._sender, None, True
            kept, self._kept = self._kept, None
        if kept is not None:
            kept.shutdown(wait=False)
        if sender is not None:
            sender.close()

    def run(self, flow: Flow[T], recording: Recording, *, seconds: float | None = None) -> T:
        """The flow's result. After ``seconds``, effects fail with `UpstreamTimeout`."""
        run = _Run(recording, NO_DEADLINE if seconds is None else time.monotonic() + seconds)
        try:
            return self._drive(flow, run)
        finally:
            run.given_up.set()

    def _drive(self, flow: Flow[T], run: _Run) -> T:
        reply: Any = None
        error: GateError | None = None
        try:
            while True:
                effect = advance(flow, reply, error)
                if isinstance(effect, Done):
                    return effect.result
                reply, error = None, None
                try:
                    reply = self._perform(effect, run)
                except GateError as raised:
                    error = raised
        finally:
            flow.close()

    def _perform(self, effect: Effect, run: _Run) -> Any:
        match effect:
            case Generate() | Embed() | Entail() | Retrieve() | HandOver():
                return self._ask(effect, run)
            case Together(flows):
                return self._together(flows, run)
            case Call(name, function, own_words):
                if run.given_up() or time.monotonic() >= run.deadline:
                    raise UpstreamTimeout(name, "was not asked: the deadline is over")
                with faults_of(name, UpstreamError if own_words else None):
                    return function()
            case Observe(step):
                run.recording.steps.append(step)
                return None

    def _together(self, flows: tuple[Flow[Any], ...], run: _Run) -> tuple[Any, ...]:
        if not flows:
            return ()
        if len(flows) == 1:
            return (self._drive(flows[0], run),)
        branch = _Run(run.recording, run.deadline, run.given_up.branch(), inner=True)
        with self._threads(len(flows), run) as pool:
            futures: list[Future[Any]] = []
            try:
                futures += (self._begin_branch(pool, flow, branch) for flow in flows)
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()  # raises the first failure
                return tuple(future.result() for future in futures)
            finally:
                branch.given_up.set()
                wait([future for future in futures if not future.cancel()])
                for flow in flows:  # those never started
                    flow.close()

    def _begin_branch(self, pool: ThreadPoolExecutor, flow: Flow[T], branch: _Run) -> Future[T]:
        try:
            return pool.submit(self._drive, flow, branch)
        except RuntimeError as error:  # the threads were let go
            raise UpstreamError("several", "were given up: the gateway was closed meanwhile") from error

    @contextlib.contextmanager
    def _threads(self, n: int, run: _Run) -> Iterator[ThreadPoolExecutor]:
        """Threads that are kept, since to start one takes longer than most of what it is for. What is side by side
        within something side by side has some of its own: else all that are kept could wait for each other."""
        if run.inner:
            with ThreadPoolExecutor(n, thread_name_prefix="gate-together") as pool:
                yield pool
            return
        with self._lock:
            if self._kept is None:
                self._kept = ThreadPoolExecutor(_KEPT, thread_name_prefix="gate-together")
            pool = self._kept
        yield pool

    def _ask(self, effect: Request, run: _Run) -> Reply[Value]:
        world, began, calls, twice = self._world, time.monotonic(), 0, False
        until, health = world.deadline(effect, run.deadline), world.health_of(effect)
        watch = None if run.recording.live is None else Watch.begun(effect, run.recording.live)

        def attempt(asked: Request) -> Value:
            nonlocal calls, twice
            while not run.given_up() and (pause := health.pause(until, asked)):
                run.given_up.sleep(pause)
            if run.given_up():  # while it slept before this attempt
                raise _over(world.endpoint(asked))
            with health.attempt(asked, began, watched=watch is not None) as made:
                calls += 1
                try:
                    return in_full(asked, self._once(world.endpoint(asked), asked, until, run, watch, made.second))
                finally:
                    twice = made.second is not None and made.second.sent
                    calls += twice

        try:
            value = self._adapting(effect, attempt, until, run)
        except UpstreamError as error:
            error.cost = cost_of(world, effect, calls, began)
            run.recording.tape.append(tape_entry(effect, error.cost, error=error, keyed=run.recording.keyed))
            if isinstance(effect, Retrieve):
                raise search_failed(effect, error) from error
            raise
        if watch is not None:
            value = watch.done(effect, value)
        cost = cost_of(world, effect, calls, began, value, twice=twice)
        run.recording.tape.append(tape_entry(effect, cost, value, keyed=run.recording.keyed))
        return Reply(value, cost)

    def _adapting(self, effect: Request, attempt: Callable[[Request], Value], until: float, run: _Run) -> Value:
        """Retry what may pass; drop fields of gate's own that are refused, and remember them if it helped."""
        asked, dropped, once = self._world.trimmed(effect), frozenset[str](), isinstance(effect, HandOver)
        while True:
            try:
                value = tenacity.Retrying(**retrying(until, once=once), sleep=run.given_up.sleep)(attempt, asked)
            except UpstreamError as error:
                asked, names = self._world.relieved(asked, error)
                dropped |= names
            else:
                self._world.learn(effect, asked, dropped)
                return value

    def _once(
        self,
        endpoint: Endpoint,
        effect: Request,
        until: float,
        run: _Run,
        watch: Watch | None,
        second: Second | None,
    ) -> Value:
        given_up = run.given_up.branch()
        pieces: Handover | None = None
        if watch is not None and watch.streams(effect) and is_live(endpoint):
            pieces = Handover(watch, given_up)
            call = self._begin_live(endpoint, effect, given_up, pieces)
        else:
            call = self._begin(endpoint, effect, given_up, second)
        limit = None if until == NO_DEADLINE else max(0.0, until - time.monotonic())
        try:
            waiting: list[Future[Any]] = [call, *given_up.signals]
            if pieces is not None:
                pieces.show(waiting, limit)
            else:
                wait(waiting, timeout=limit, return_when=FIRST_COMPLETED)
            if call.done():
                return call.result()
            raise (
                _over(endpoint) if given_up() else UpstreamTimeout(endpoint.name, "did not answer before the deadline")
            )
        except CancelledError:
            raise _closed(endpoint) from None
        except UpstreamError as error:
            error.final = error.final or (watch is not None and watch.grown)
            raise
        finally:
            given_up.set()
            call.cancel()

    def _begin(
        self, endpoint: Endpoint, effect: Request, cancelled: Callable[[], bool], second: Second | None
    ) -> Future[Value]:
        if is_local(endpoint):
            if is_awaitable(endpoint) and isinstance(effect, Generate):  # a task can be called off, a thread cannot
                with self._lock:
                    return self._open(endpoint).wait_for(endpoint, effect)
            return _call(completed, endpoint, effect, cancelled)
        with self._lock:
            return self._open(endpoint).send(endpoint, effect, second)

    def _begin_live(
        self, endpoint: LiveUpstream, effect: Generate, cancelled: Callable[[], bool], pieces: Handover
    ) -> Future[Value]:
        if is_local(endpoint):
            return _call(completed, pieces.telling(endpoint), effect, cancelled)
        with self._lock:
            return self._open(endpoint).send_live(endpoint, effect, pieces.sees)

    def _open(self, endpoint: Endpoint) -> BackgroundSender:
        """What sends; only under the lock."""
        if self._closed:
            raise _closed(endpoint)
        if self._sender is None or not self._sender.alive:
            self._sender = BackgroundSender()
        return self._sender


def _over(endpoint: Endpoint) -> UpstreamTimeout:
    return UpstreamTimeout(endpoint.name, "was given up")


def _closed(endpoint: Endpoint) -> UpstreamError:
    return UpstreamError(endpoint.name, "was given up: the gateway was closed meanwhile")


def _call(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """Run on a daemon thread of its own: one that hangs on a dead server must not keep the process alive."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # from now on it can only be asked to stop

    def work() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits on the future
            future.set_exception(error)

    threading.Thread(target=work, name="gate-call", daemon=True).start()
    return future
