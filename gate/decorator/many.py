"""Many questions at once: so many at a time, results in order, and an end to all of them when the caller goes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Literal, TypeVar

from gate.errors import first_of

T = TypeVar("T")
Told = Callable[[int, int], object]
"""Told how many are done, and of how many."""
Progress = Told | bool | None
Errors = Literal["return", "raise"]
CONCURRENCY = 8


async def each(
    work: Callable[[Any], Coroutine[Any, Any, T]], items: Sequence[Any], *, concurrency: int, errors: Errors, told: Told
) -> list[T | Exception]:
    """What ``work`` makes of every item, in order; where it raises, the exception in its place, or out of here."""
    results: list[Any] = [None] * len(items)
    places, done = iter(range(len(items))), 0

    async def worker() -> None:
        nonlocal done
        for place in places:
            found: Sequence[T | BaseException] = await asyncio.gather(work(items[place]), return_exceptions=True)
            result = found[0]
            if isinstance(result, BaseException) and (errors == "raise" or not isinstance(result, Exception)):
                raise result
            results[place] = result
            done += 1
            told(done, len(items))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(items))):
                group.create_task(worker())
    except BaseExceptionGroup as raised:
        raise first_of(raised) from None
    return results


def on_a_thread(main: Callable[[Told], Coroutine[Any, Any, T]], told: Told) -> T:
    """What ``main`` comes to on an event loop of its own. ``told`` is called here, and an interruption cancels it."""
    moved: SimpleQueue[tuple[int, int] | None] = SimpleQueue()
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()
    left = threading.Event()

    async def run() -> T:
        begun.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        if left.is_set():
            raise asyncio.CancelledError
        return await main(lambda done, total: moved.put((done, total)))

    with ThreadPoolExecutor(1, thread_name_prefix="gate-all") as pool:
        try:  # an interruption may come in the middle of any of this
            running: Future[T] = pool.submit(contextvars.copy_context().run, lambda: asyncio.run(run()))
            running.add_done_callback(lambda _: moved.put(None))
            while (now := moved.get()) is not None:
                told(*now)
            return running.result()
        finally:
            left.set()
            loop, task = begun.result() if begun.done() else (None, None)
            if loop is not None and task is not None:
                with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                    loop.call_soon_threadsafe(task.cancel)


@contextlib.contextmanager
def shown(progress: Progress, what: str, total: int) -> Iterator[Told]:
    """Who is told of the progress: the caller's function, a bar on stderr where that is a terminal, or nobody."""
    if progress is None or progress is False:
        yield lambda *_: None
    elif progress is True:
        with _bar(what, total) as told:
            yield told
    elif callable(progress):
        yield progress
    else:
        raise TypeError(f"progress: True or a function of (done, total) was expected, not a {type(progress).__name__}")


@contextlib.contextmanager
def _bar(what: str, total: int) -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, _: bar.update(task, completed=done)


def bounded(concurrency: int, errors: Errors) -> None:
    """Raises `ValueError` for what is no number of questions at a time, and for no way to treat errors."""
    if type(concurrency) is not int or concurrency < 1:
        raise ValueError(f"concurrency is {concurrency!r}: give how many questions are asked at a time, 1 or more")
    if errors not in ("return", "raise"):
        raise ValueError(f"errors is {errors!r}: give 'return' or 'raise'")
