"""Many at once: so many at a time, in order, with failures in their places, and an end to all when the caller goes."""

from __future__ import annotations

import asyncio
import contextvars
import io
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from gate.decorator.many import Told, bounded, each, on_a_thread, shown


def quiet(done: int, total: int) -> None:
    pass


class Work:
    """Waits until enough are under way at once, and fails where it is told to."""

    def __init__(self, at_once: int = 1, fails: Callable[[int], BaseException | None] = lambda _: None) -> None:
        self.at_once, self.fails = at_once, fails
        self.running = self.most = 0
        self.cancelled: list[int] = []
        self.full = asyncio.Event()

    async def __call__(self, item: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.running >= self.at_once:
                self.full.set()
            await self.full.wait()
            if (error := self.fails(item)) is not None:
                raise error
            return item * 10
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        finally:
            self.running -= 1


def test_results_are_in_order_and_no_more_than_allowed_are_under_way() -> None:
    async def main() -> None:
        work, told = Work(at_once=3), list[tuple[int, int]]()
        done = await each(work, range(9), concurrency=3, errors="return", told=lambda *now: told.append(now))
        assert done == [item * 10 for item in range(9)]
        assert work.most == 3
        assert told == [(n, 9) for n in range(1, 10)]
        assert await each(work, [], concurrency=3, errors="return", told=quiet) == []

    asyncio.run(main())


def test_a_failure_stands_in_its_place_or_ends_all() -> None:
    broken = ValueError("no")

    async def main() -> None:
        work = Work(fails=lambda item: broken if item == 1 else None)
        assert await each(work, range(3), concurrency=2, errors="return", told=quiet) == [0, broken, 20]
        waits = Work(at_once=2, fails=lambda item: broken if item == 1 else None)
        with pytest.raises(ValueError, match="no") as caught:
            await each(waits, range(90), concurrency=2, errors="raise", told=quiet)
        assert caught.value is broken
        assert waits.running == 0

    asyncio.run(main())


def test_cancelling_ends_all() -> None:
    async def main() -> None:
        work = Work(at_once=99)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(each(work, range(9), concurrency=3, errors="return", told=quiet))
            while work.running < 3:
                await asyncio.sleep(0)
            task.cancel()
        assert task.cancelled()
        assert (sorted(work.cancelled), work.running) == ([0, 1, 2], 0)

    asyncio.run(main())


def test_whoever_is_told_may_break_and_all_ends_with_it() -> None:
    def breaks(done: int, total: int) -> None:
        raise RuntimeError("the caller's own")

    async def main() -> None:
        await each(Work(), range(9), concurrency=2, errors="return", told=breaks)

    with pytest.raises(RuntimeError, match="the caller's own"):
        asyncio.run(main())


# --- from a thread -----------------------------------------------------------------------------------------------

ASKED: contextvars.ContextVar[str] = contextvars.ContextVar("asked")


def test_on_a_thread_the_caller_is_told_on_its_own_and_its_context_goes_along() -> None:
    told = list[Any]()
    ASKED.set("mine")

    async def main(tell: Told) -> str:
        tell(1, 2)
        tell(2, 2)
        return f"{ASKED.get()} {threading.current_thread() is threading.main_thread()}"

    result = on_a_thread(main, lambda *now: told.append((now, threading.current_thread())))
    assert result == "mine False"
    assert told == [((1, 2), threading.current_thread()), ((2, 2), threading.current_thread())]


def test_also_where_a_loop_is_running_here() -> None:
    async def inner(tell: Told) -> int:
        return 7

    async def main() -> int:
        return on_a_thread(inner, quiet)

    assert asyncio.run(main()) == 7


def test_a_failure_comes_out_here() -> None:
    async def main(tell: Told) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        on_a_thread(main, quiet)


@pytest.mark.parametrize("interrupted", [True, False])
def test_an_interruption_and_a_fault_of_whoever_is_told_cancel_what_is_under_way(interrupted: bool) -> None:
    cancelled, here = threading.Event(), threading.main_thread().ident
    assert here is not None

    async def main(tell: Told) -> None:
        tell(1, 2)
        try:
            if interrupted:
                signal.pthread_kill(here, signal.SIGINT)
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def told(done: int, total: int) -> None:
        if not interrupted:
            raise RuntimeError("the caller's own")

    with pytest.raises(KeyboardInterrupt if interrupted else RuntimeError):
        on_a_thread(main, told)
    assert cancelled.wait(5), "it may end a moment later where the interruption came while its thread was started"


# --- progress ----------------------------------------------------------------------------------------------------


def test_progress_is_the_callers_function_or_nothing() -> None:
    said = list[tuple[int, int]]()
    with shown(lambda *now: said.append(now), "asking", 3) as told:
        told(1, 3)
    assert said == [(1, 3)]
    for nothing in (None, False):
        with shown(nothing, "asking", 3) as told:
            told(1, 3)
    with pytest.raises(TypeError, match="progress: True or a function"), shown("yes", "asking", 3):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_on_stderr_alone_and_only_where_that_is_a_terminal(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = io.StringIO()

    def console(**how: Any) -> Console:
        assert how == {"stderr": True}
        return Console(file=written, force_terminal=terminal, width=80)

    monkeypatch.setattr("rich.console.Console", console)
    with shown(True, "asking", 3) as told:
        told(2, 3)
    assert ("asking" in written.getvalue()) is terminal
    assert ("2/3" in written.getvalue()) is terminal
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, None, "8"])
def test_so_many_at_a_time_is_a_number(concurrency: Any) -> None:
    with pytest.raises(ValueError, match="concurrency is"):
        bounded(concurrency, "return")
    with pytest.raises(ValueError, match="errors is 'ignore': give 'return' or 'raise'"):
        bounded(1, "ignore")  # type: ignore[arg-type]
    bounded(1, "raise")
