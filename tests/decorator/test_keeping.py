"""Decisions of Python code in the decision log: kept off its path, with errors, and on over closing and forks."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gate.decorator.keeping import DOOR, Keeper, Noted
from gate.errors import ConfigError, RequestError, UpstreamError
from gate.log.entries import Entry
from gate.log.kept import Kept, Label, Sought
from gate.log.opening import DecisionLog, open_log
from gate.traces import TraceRecord
from tests.log import decided


def record(name: str) -> TraceRecord:
    """One of now: old ones are forgotten."""
    return decided.record(name, time.time())


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'decisions.db'}"


@pytest.fixture
def keeper(url: str) -> Iterator[Keeper]:
    made = Keeper(url, "scalars")
    yield made
    made.close()


def kept(url: str) -> list[Kept]:
    log: DecisionLog = open_log(url)
    try:
        return [*log.reader.recent(Sought(), 500)]
    finally:
        log.close()


def test_what_is_put_is_in_the_log_once_it_is_closed(keeper: Keeper, url: str) -> None:
    keeper.put(Entry(record("one"), DOOR))
    keeper.close()
    (found,) = kept(url)
    assert (found.id, found.door, found.status, found.mode) == ("one", "python", 200, "enforce")


def test_closed_it_opens_again_and_closing_twice_does_nothing(keeper: Keeper, url: str) -> None:
    for name in ("one", "two"):
        keeper.put(Entry(record(name), DOOR))
        keeper.close()
        keeper.close()
    assert {each.id for each in kept(url)} == {"one", "two"}


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="cannot be kept in 'mysql'"):
        Keeper("mysql://elsewhere/db", "scalars")


def test_a_label_waits_for_the_decision_it_is_of(keeper: Keeper, url: str) -> None:
    keeper.put(Entry(record("one"), DOOR))
    assert keeper.label(Label("one", True, "ann"))
    assert not keeper.label(Label("other", True, "ann"))
    (found,) = kept(url)
    assert found.label is not None
    assert (found.label.correct, found.label.by, found.label.source) == (True, "ann", "feedback")


def test_nothing_is_lost_where_nobody_closes(url: str) -> None:
    forgotten = Keeper(url, "scalars")
    forgotten.put(Entry(record("one"), DOOR))
    del forgotten
    gc.collect()
    assert [each.id for each in kept(url)] == ["one"]


def test_nor_where_the_program_just_ends(url: str) -> None:
    said = (
        "import sys; from gate.decorator.keeping import *; from gate.log.entries import Entry\n"
        "from gate.traces import TraceRecord; keeper = Keeper(sys.argv[1], 'scalars')\n"
        "keeper.put(Entry(TraceRecord('one', sys.argv[2], 'p', 'f', False, ()), DOOR))"
    )
    subprocess.run([sys.executable, "-c", said, url, record("one").started], check=True, timeout=60)
    assert [each.id for each in kept(url)] == ["one"]


def test_many_threads_keep_while_it_is_closed_again_and_again(keeper: Keeper, url: str) -> None:
    def work(number: int) -> None:
        for place in range(20):
            keeper.put(Entry(record(f"{number}-{place}"), DOOR))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        keeper.close()
    for thread in threads:
        thread.join()
    keeper.close()
    assert len(kept(url)) == 80


def test_before_a_fork_all_is_written_and_either_process_goes_on(keeper: Keeper, url: str) -> None:
    keeper.put(Entry(record("before"), DOOR))

    def work() -> None:
        keeper.put(Entry(record("child"), DOOR))
        keeper.close()

    forked: Any = multiprocessing.get_context("fork").Process(target=work)
    forked.start()
    keeper.put(Entry(record("parent"), DOOR))
    forked.join(10)
    exitcode = forked.exitcode
    forked.kill()
    keeper.close()
    assert exitcode == 0
    assert {each.id for each in kept(url)} == {"before", "child", "parent"}


def test_a_fork_waits_for_whoever_is_at_it(keeper: Keeper, url: str) -> None:
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            keeper.put(Entry(record(f"thread-{number}"), DOOR))
            number += 1
            stop.wait(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    exitcodes = []
    for number in range(4):
        name = f"child-{number}"
        forked: Any = multiprocessing.get_context("fork").Process(target=_put, args=(keeper, name))
        forked.start()
        forked.join(10)
        exitcodes.append(forked.exitcode)
        forked.kill()
    stop.set()
    thread.join()
    keeper.close()
    assert exitcodes == [0] * 4
    assert {each.id for each in kept(url)} >= {f"child-{number}" for number in range(4)}


def _put(keeper: Keeper, name: str) -> None:
    keeper.put(Entry(record(name), DOOR))
    keeper.close()


# --- one question ------------------------------------------------------------------------------------------------


def failed(error: BaseException, name: str) -> BaseException:
    vars(error)["trace"] = record(name)
    return error


def test_what_a_question_comes_to_is_kept_and_goes_on(keeper: Keeper, url: str) -> None:
    with Noted(keeper) as note:
        made = decided.worded("one", time.time())
        assert made.outcome is not None
        assert note(made.outcome, made) == (made.outcome, made)
    keeper.close()
    (found,) = kept(url)
    assert (found.id, found.status) == ("one", 200)
    assert 0 <= found.seconds < 5


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UpstreamError("small", "is down", status=500), 502),
        (RequestError("no", status=404), 404),
        (RuntimeError("the user's own words"), 500),
        (KeyboardInterrupt(), 499),
        (asyncio.CancelledError(), 499),
        (ExceptionGroup("several", [UpstreamError("small", "is down")]), 502),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_it_failed_for_is_kept_with_the_status_the_proxy_would_give(
    error: BaseException, status: int, keeper: Keeper, url: str
) -> None:
    inner = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
    failed(inner, "one")
    with pytest.raises(type(error)), Noted(keeper):
        raise error
    keeper.close()
    (found,) = kept(url)
    assert (found.id, found.status) == ("one", status)


def test_a_log_that_cannot_be_opened_again_loses_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "gone"
    keeper = Keeper(f"sqlite:///{folder / 'decisions.db'}", "scalars")
    keeper.close()
    shutil.rmtree(folder)
    folder.write_text("a file where the folder was")
    made = decided.worded("one")
    assert made.outcome is not None
    with Noted(keeper) as note:
        note(made.outcome, made)
    assert "a decision was not kept" in caplog.text
    assert not any(secret in caplog.text for secret in decided.SECRETS)


def test_without_a_log_or_a_trace_nothing_is_kept(keeper: Keeper, url: str) -> None:
    with Noted(None) as note:
        made = decided.worded("one")
        assert made.outcome is not None
        note(made.outcome, made)
    with pytest.raises(ValueError, match="no"), Noted(keeper):
        raise ValueError("no")
    keeper.close()
    assert kept(url) == []
