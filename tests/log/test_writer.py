"""The writer: what is put comes into the database, whatever happens to it meanwhile, and nothing else does."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gate.log.address import for_writing, is_sqlite
from gate.log.entries import Entry
from gate.log.kept import Label, Sought
from gate.log.opening import DecisionLog, open_log
from gate.types import Action
from tests.log.decided import SECRETS, START, entry, kept, record, worded


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def ids(log: DecisionLog) -> list[str]:
    return [each.id for each in reversed(log.reader.recent(Sought(), 10_000))]


def take_away(log: DecisionLog) -> None:
    """As when a database is down: every statement fails, for no fault of the rows."""
    with log.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gate_traces RENAME TO taken_away"))


def bring_back(log: DecisionLog) -> None:
    with log.engine.begin() as connection:
        connection.execute(text("ALTER TABLE taken_away RENAME TO gate_traces"))


def test_what_is_put_is_written_in_batches_and_in_order(opened: Any) -> None:
    log = opened()
    made = [entry(f"{place:05}", START + place) for place in range(1200)]
    kept(log, *made)
    assert ids(log) == [each.record.id for each in made]
    assert log.reader.trace("00700") == made[700].record
    assert (log.writer.written, log.writer.dropped, log.writer.failed, log.writer.waiting) == (1200, 0, 0, 0)


def test_threads_may_put_side_by_side(opened: Any) -> None:
    log = opened()

    def puts(name: str) -> None:
        for place in range(200):
            assert log.writer.put(entry(f"{name}{place}"))

    threads = [threading.Thread(target=puts, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.writer.flush(20)
    assert log.writer.written == len(set(ids(log))) == 800


def test_processes_may_write_to_one_log(url: str, opened: Any) -> None:
    log = opened()
    code = (
        "import sys; from tests.log.decided import entry; from gate.log.opening import open_log; "
        f"log = open_log({url!r}, retention_days=None); "
        "print(all(log.writer.put(entry(sys.argv[1] + str(i))) for i in range(500)), log.close(20))"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, name], stdout=-1, stderr=-1, text=True) for name in "ab"]
    kept(log, *(entry(f"c{place}") for place in range(500)))
    assert [process.communicate(timeout=60) for process in started] == [("True 0\n", "")] * 2
    assert len(set(ids(log))) == 1500


def test_a_database_that_is_away_is_tried_again_and_nothing_is_lost(
    opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = opened()
    take_away(log)
    with caplog.at_level(logging.WARNING, "gate.log"):
        for place in range(600):
            assert log.writer.put(Entry(worded(f"{place:03}", START + place), request_id="req"))
        until(lambda: bool(caplog.records))
        assert not log.writer.flush(0.05)
        assert log.writer.waiting == 600
        bring_back(log)
        assert log.writer.flush(20)
    assert len(ids(log)) == log.writer.written == 600
    assert [each.levelname for each in caplog.records] == ["WARNING", "WARNING"], (
        "once when it goes, once when it comes"
    )
    assert "cannot be written, and is tried again: " in caplog.text
    assert not [secret for secret in SECRETS if secret in caplog.text]


def test_a_full_queue_drops_and_counts(opened: Any) -> None:
    log = opened(queue=5)
    take_away(log)
    assert [log.writer.put(entry(name)) for name in "abcdefg"] == [True] * 5 + [False] * 2
    assert (log.writer.waiting, log.writer.dropped, log.writer.full) == (5, 2, False)
    bring_back(log)
    assert log.writer.flush(20)
    assert ids(log) == list("abcde")
    kept(log, entry("h"))
    assert log.writer.dropped == 2


def test_a_few_very_long_ones_fill_the_queue_too(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.log.writer._MOST_TEXT", 3000)
    monkeypatch.setattr("gate.log.writer._BATCH_TEXT", 1000)
    log = opened(keep="text", when_full="refuse")
    take_away(log)
    for name in "ab":
        assert log.writer.put(Entry(worded(name)))
    until(lambda: log.writer.full)
    assert not log.writer.put(entry("c"))
    bring_back(log)
    assert log.writer.flush(20)
    assert (ids(log), log.writer.full, log.writer._held) == (["a", "b"], False, 0)


def test_a_database_that_blocks_keeps_no_requests_in_memory(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.log.writer._MOST_TEXT", 3000)
    log = opened(keep="text", when_full="refuse")
    with for_writing(log.engine).begin() as connection:
        if not is_sqlite(log.engine.url):
            connection.execute(text("LOCK TABLE gate_decisions IN EXCLUSIVE MODE"))
        assert log.writer.put(entry("a"))
        until(lambda: len(log.writer._rows) == 1)
        for name in "bcd":
            assert log.writer.put(Entry(worded(name)))
            until(lambda: not log.writer._queue)
            if log.writer.full:
                break
        assert log.writer.full, "by what was written of them"
        assert not log.writer.put(entry("e"))
    assert log.writer.flush(20)
    assert log.writer._held == 0
    assert ids(log) == list("abcd"[: log.writer.written])


def test_where_no_text_is_kept_none_waits_in_a_long_queue(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.log.writer._MANY", 1)
    monkeypatch.setattr("gate.log.writer.LogWriter._run", lambda self: None)
    for keep, lean in (("scalars", True), ("hashed", False), ("text", False)):
        log = opened(keep=keep)
        for name in "ab":
            assert log.writer.put(Entry(worded(name)))
        assert [each.record.question is None for each in log.writer._queue] == [False, lean]


def test_a_connection_that_was_lost_is_opened_anew(postgresql: str, opened: Any) -> None:
    log = opened(postgresql)
    kept(log, entry("a", START))
    with log.engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'gate' AND pid <> pg_backend_pid()"
            )
        )
    kept(log, entry("b", START + 1))
    assert ids(log) == ["a", "b"]


def test_where_nothing_may_be_lost_the_server_is_told_and_what_was_under_way_is_kept(opened: Any) -> None:
    log = opened(queue=3, when_full="refuse")
    take_away(log)
    assert [log.writer.put(entry(name)) for name in "ab"] == [True] * 2
    assert not log.writer.full
    assert [log.writer.put(entry(name)) for name in "cdefg"] == [True] * 4 + [False]
    assert log.writer.full
    bring_back(log)
    assert log.writer.flush(20)
    assert (ids(log), log.writer.full) == (list("abcdef"), False)
    log.close()
    assert log.writer.full, "a closed log keeps nothing"


def test_closing_writes_what_waits_and_then_takes_no_more(url: str) -> None:
    log = open_log(url, retention_days=None)
    for place in range(700):
        log.writer.put(entry(f"{place}"))
    assert log.close(20) == 0
    assert log.writer.written == 700
    assert not log.writer.put(entry("late"))
    assert (log.writer.dropped, log.close()) == (1, 0)


def test_closing_says_how_many_are_lost(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    log = opened()
    take_away(log)
    for name in "abc":
        log.writer.put(entry(name))
    assert log.close(0.2) == 3
    assert log.writer.dropped == 3
    assert "closed with 3 decisions unwritten" in caplog.text


def test_what_no_database_takes_is_counted_and_holds_nothing_up(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    log = opened(keep="text")
    bad = dataclasses.replace(Entry(worded("bad", START)), status=2**70)
    no_entry = dataclasses.replace(entry("no"), record=None)  # type: ignore[arg-type]
    for each in (entry("a"), bad, entry("b"), no_entry, entry("c", request_id="\0\ud800")):
        assert log.writer.put(each)
    assert log.writer.flush(20)
    assert ids(log) == ["a", "b", "c"]
    assert (log.writer.written, log.writer.failed, log.writer.dropped) == (3, 2, 0)
    assert not [secret for secret in SECRETS if secret in caplog.text]


@pytest.mark.parametrize("keep", ["scalars", "hashed", "text"])
def test_no_text_is_in_the_files_unless_it_is_asked_for(tmp_path: Path, keep: Any) -> None:
    log = open_log(f"sqlite:///{tmp_path / 'log.db'}", keep=keep, retention_days=None)
    said = [Entry(worded("a")), Entry(worded("b", action=Action.ABSTAIN))]
    kept(log, *said)
    log.reader.label(Label("a", False, "me", note=SECRETS[0], answer=SECRETS[1]))
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"log.db", "log.db-wal", "log.db-shm"}
    assert b"vote_share" in held, "it is not merely elsewhere"
    found = [secret for secret in SECRETS if secret.encode() in held]
    assert found == (list(SECRETS) if keep == "text" else [])
    states = said[0].record.outcome.generation.states.features  # type: ignore[union-attr]
    assert states.encode() not in held
    log.close()


def test_the_log_forgets_what_is_too_old_by_itself(opened: Any) -> None:
    now = time.time()
    log = opened()
    kept(log, *(entry(f"old{place}", now - 40 * 86_400) for place in range(1100)), entry("new", now - 20 * 86_400))
    other = opened(retention_days=30)
    until(lambda: ids(other) == ["new"])
    kept(other, entry("newer", now))
    assert ids(other) == ["new", "newer"]


def test_a_decision_that_is_put_twice_is_kept_once(opened: Any) -> None:
    log = opened()
    kept(log, entry("a"), Entry(record("a"), door="messages"))
    assert [each.door for each in log.reader.recent(Sought())] == ["chat"]


def test_a_file_that_is_taken_away_is_noticed_and_nothing_counts_as_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_log(f"sqlite:///{tmp_path / 'd.db'}", queue=3, when_full="refuse")
    assert log.writer.put(entry("one"))
    assert log.writer.flush()
    (tmp_path / "d.db").rename(tmp_path / "elsewhere.db")
    for name in ("two", "three", "four"):
        log.writer.put(entry(name))
    assert not log.writer.flush(0.3)
    assert (log.writer.written, log.writer.full) == (1, True)
    assert "moved or deleted" in caplog.text
    (tmp_path / "elsewhere.db").rename(tmp_path / "d.db")
    assert log.writer.flush(10)
    assert log.close() == 0
    assert log.writer.written == 4


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux alone")
def test_it_gives_way_to_the_thread_that_answers_requests(opened: Any) -> None:
    log = opened()
    kept(log, entry("one"))
    writing = log.writer._thread.native_id
    assert os.getpriority(os.PRIO_PROCESS, writing) == 10
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == 0


# --- told what becomes of it -------------------------------------------------------------------------------------


def test_who_wants_to_know_is_told_once_it_is_in_the_database(opened: Any) -> None:
    log = opened()
    told = [log.writer.keep(entry(f"{place:03}", START + place)) for place in range(300)]
    assert all(each.result(20) for each in told)
    assert log.reader.find("000") is not None
    assert log.writer.keep(entry("one more")).result(20)
    assert log.reader.find("one more") is not None


def test_nobody_is_told_before_a_database_that_is_away_is_back(opened: Any) -> None:
    log = opened()
    take_away(log)
    told = log.writer.keep(entry("a"))
    until(lambda: log.writer.away)
    left = log.writer.keep(entry("b"))
    assert left.cancel()  # its request waits no more; it is written all the same
    assert not told.done()
    bring_back(log)
    assert told.result(20)
    assert log.writer.flush(20)
    assert not log.writer.away
    assert ids(log) == ["a", "b"]


def test_what_will_never_be_written_is_told_too(opened: Any) -> None:
    log = opened(queue=1, when_full="refuse")
    broken = log.writer.keep(dataclasses.replace(entry("x"), status=2**70))
    assert log.writer.flush(20)
    assert not broken.result(20)
    take_away(log)
    told = [log.writer.keep(entry(name)) for name in "abc"]
    assert not told[2].result(20), "there was no room for it"
    log.close(0.05)
    assert not told[0].result(20)
    assert not log.writer.keep(entry("late")).result(20)
    assert not log.writer._waiting_for


def statuses(log: DecisionLog) -> list[int]:
    with log.engine.connect() as connection:
        return [row[0] for row in connection.execute(text("SELECT status FROM gate_decisions ORDER BY id"))]


def test_what_nobody_was_told_of_has_the_status_that_its_client_got(opened: Any) -> None:
    log = opened()
    kept(log, entry("a"), entry("b"))
    before = statuses(log)
    log.writer.amend(["a", "never came"], 503)  # it is in there already
    assert log.writer.flush()
    assert statuses(log) == [503, before[1]]
    take_away(log)
    log.writer.put(entry("c"))
    until(lambda: log.writer.away)
    log.writer.amend(["c"], 503)  # it waits for the database
    bring_back(log)
    assert log.writer.flush()
    assert statuses(log) == [503, before[1], 503]
    assert not log.writer.away


def test_a_status_that_cannot_be_written_is_written_once_the_database_is_back(opened: Any) -> None:
    log = opened()
    kept(log, entry("a"))
    with log.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gate_decisions RENAME TO gone"))
    log.writer.amend(["a"], 503)
    until(lambda: log.writer.away)
    with log.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO gate_decisions"))
    until(lambda: not log.writer.away)
    assert statuses(log) == [503]
