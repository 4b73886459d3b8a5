"""Migrations: from nothing, from an older version, of a newer one, and by several workers at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gate.errors import ConfigError
from gate.log.address import connected, read_address
from gate.log.migrations import MIGRATIONS, VERSION, hash_key, migrate
from gate.log.opening import existing_log
from gate.log.reader import LogReader
from gate.log.tables import KEPT
from tests.commands import changed

OLD = ("drawn", "checked", "reviewed", "noted", "not drawn")


def _made_by_version_1(url: str) -> None:
    """A log with a few decisions, as version 1 left it: this is history, and not to be made by later code."""
    engine = connected(read_address(url))
    migrate(engine, to=1)
    values = dict.fromkeys((name for name in KEPT if name != "further"), "''") | {
        "certified": "TRUE", "streamed": "FALSE", "retracted": "FALSE", "full_evidence": "FALSE", "policy": "'mine'",
        "p": "0.5", "threshold": "NULL", "calls": "1", "prompt_tokens": "2", "completion_tokens": "3", "status": "200",
        "money": "0.5", "seconds": "0.5", "mode": "'enforce'", "action": "'answer'",
    }  # fmt: skip
    with engine.begin() as connection:
        for place, id_ in enumerate(OLD):
            audit = "NULL" if id_ == "not drawn" else "0.25"
            row = values | {"id": f"'{id_}'", "at": str(1000.0 + place), "audit": audit}
            connection.execute(
                text(f"INSERT INTO gate_decisions ({', '.join(row)}) VALUES ({', '.join(row.values())})")
            )
        for id_, correct, source in (
            ("checked", "TRUE", "feedback"),
            ("reviewed", "NULL", "review"),
            ("noted", "NULL", "feedback"),
        ):
            connection.execute(
                text(
                    "INSERT INTO gate_labels (decision, correct, author, source, at, note, answer)"
                    f" VALUES ('{id_}', {correct}, 'me', '{source}', 1.0, '', '')"
                )
            )
    engine.dispose()


def test_versions_count_from_one() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(1, VERSION + 1))


def test_a_log_of_version_1_is_brought_up_to_date_with_all_that_is_in_it(url: str) -> None:
    _made_by_version_1(url)
    with existing_log(url) as engine:
        secret = hash_key(engine)
        reader = LogReader(engine)
        assert [kept.id for kept in reader.waiting()] == ["drawn", "checked", "noted"], (
            "what was volunteered ends no wait"
        )
        assert reader.waiting_count() == 3
        found = reader.find("checked")
        assert found is not None
        assert found.label is not None
        assert (found.at, found.audit, found.label.correct, found.explanation) == (1001.0, 0.25, True, {})
    with existing_log(url) as engine:
        assert hash_key(engine) == secret, "hashes stay what they were"
        assert len(secret) == 32


def test_a_log_of_a_newer_version_is_left_alone(url: str, opened: Any) -> None:
    log = opened()
    with log.engine.begin() as connection:
        connection.execute(text("UPDATE gate_log SET value = '99' WHERE name = 'version'"))
    with pytest.raises(ConfigError, match=rf"newer gate .*version 99; this one knows up to {VERSION}\): upgrade"):
        opened()


def test_two_logs_have_different_secrets(tmp_path: Path, opened: Any) -> None:
    one, other = (opened(f"sqlite:///{tmp_path / name}") for name in ("one.db", "other.db"))
    assert hash_key(one.engine) != hash_key(other.engine)


def test_a_file_that_is_no_log_is_left_alone(tmp_path: Path, opened: Any) -> None:
    (tmp_path / "text.db").write_text("dear diary, " * 99)
    with pytest.raises(ConfigError, match=r"text\.db: the decision log cannot be opened: file is not a database"):
        opened(f"sqlite:///{tmp_path / 'text.db'}")
    changed(tmp_path / "mine.db", "CREATE TABLE mine (x)")
    with pytest.raises(ConfigError, match=r"mine\.db: this file is no decision log"):
        opened(f"sqlite:///{tmp_path / 'mine.db'}")


def test_a_migration_that_fails_leaves_nothing_behind(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = MIGRATIONS[1].__class__(2, (MIGRATIONS[1].statements[0], "CREATE NONSENSE"))
    engine = connected(read_address(url))
    migrate(engine, to=1)
    monkeypatch.setattr("gate.log.migrations.MIGRATIONS", (MIGRATIONS[0], broken))
    with pytest.raises(ConfigError, match="cannot be opened"):
        migrate(engine)
    monkeypatch.undo()
    migrate(engine)
    engine.dispose()


def test_several_workers_may_start_at_once(url: str) -> None:
    """Each in a process of its own, on a database that is not there yet."""
    code = f"from gate.log.opening import open_log; print(open_log({url!r}).close())"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) for _ in range(4)]
    ended = [process.communicate(timeout=60) for process in started]
    assert ended == [("0\n", "")] * 4
