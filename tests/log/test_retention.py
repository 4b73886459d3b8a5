"""Forgetting: what is too old goes, with all that belongs to it, and nothing else."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gate.errors import GateError
from gate.log.entries import Entry
from gate.log.kept import Label, Sought
from gate.log.migrations import hash_key
from gate.log.opening import existing_log, open_log
from gate.log.retention import BATCH, count, purge, purge_some
from gate.log.rows import question_hash
from tests.log.decided import QUESTION, SECRETS, START, entry, kept, worded

TABLES = {"gate_decisions": "id", "gate_traces": "id", "gate_labels": "decision"}


def held(log: Any) -> dict[str, list[str]]:
    with log.engine.connect() as connection:
        return {
            table: sorted(connection.scalars(text(f"SELECT {column} FROM {table}")).all())
            for table, column in TABLES.items()
        }


def filled(log: Any) -> None:
    places = [("old", "one"), ("older", "two"), ("edge", "one"), ("new", "two")]
    kept(log, *(entry(id_, START + at, key=key) for at, (id_, key) in zip((1, 0, 2, 3), places, strict=True)))
    for id_, _ in places:
        log.reader.label(Label(id_, True, "me"))


def test_what_is_older_goes_with_its_trace_and_its_labels(opened: Any) -> None:
    log = opened()
    filled(log)
    assert count(log.engine, START + 2) == purge(log.engine, START + 2) == 2
    assert held(log) == {key: ["edge", "new"] for key in TABLES}
    assert purge(log.engine, START + 2) == 0


def test_of_some_keys_alone(opened: Any) -> None:
    log = opened()
    filled(log)
    assert count(log.engine, math.inf, keys=["one", "three"]) == 2
    assert purge(log.engine, math.inf, keys=["one", "three"]) == 2
    assert purge(log.engine, math.inf, keys=[]) == 0
    assert held(log) == {key: ["new", "older"] for key in TABLES}


def test_of_one_question_alone_which_is_known_by_its_hash(opened: Any) -> None:
    log = opened(keep="hashed")
    kept(log, Entry(worded("a")), Entry(worded("b", START + 1)), entry("c"))
    asked = question_hash(hash_key(log.engine), QUESTION)
    assert [each.question_hash for each in log.reader.recent(Sought())] == [asked, "", asked]
    assert purge(log.engine, START + 1, question_hash=asked) == 1
    assert purge(log.engine, math.inf, question_hash="0" * 32) == 0
    assert held(log)["gate_decisions"] == ["b", "c"]


def test_it_goes_in_steps_the_oldest_first(opened: Any) -> None:
    log = opened()
    kept(log, *(entry(f"{place:04}", START + place) for place in range(BATCH + 7)))
    assert purge_some(log.engine, math.inf, limit=3) == 3
    assert held(log)["gate_decisions"][0] == "0003"
    assert purge(log.engine, math.inf) == BATCH + 4
    assert held(log) == {table: [] for table in TABLES}


def test_two_that_forget_at_once_count_nothing_twice(opened: Any) -> None:
    log, other = opened(), opened()
    kept(log, *(entry(str(place)) for place in range(2 * BATCH)))
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda log=log: done.append(purge(log.engine, math.inf))) for log in (log, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 2 * BATCH


def test_what_was_forgotten_is_not_in_the_files_any_more(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'log.db'}"
    log = open_log(address, keep="text", retention_days=None)
    kept(log, Entry(worded("gone")), entry("left", START + 9))
    log.reader.label(Label("gone", False, "me", note=SECRETS[0]))
    log.close()
    with existing_log(address) as engine:
        assert purge(engine, START + 1) == 1
        found = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not [secret for secret in SECRETS if secret.encode() in found]
    assert b"left" in found


def test_a_log_that_cannot_be_used_is_said_to_be_so(opened: Any) -> None:
    log = opened()
    kept(log, entry("a"))
    with log.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gate_decisions RENAME TO taken_away"))
    for ask in (purge, count, purge_some):
        with pytest.raises(GateError, match=r"the decision log .* cannot be used: "):
            ask(log.engine, math.inf)
