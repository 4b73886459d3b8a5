"""Opening: a writer and a reader over one database, and nothing left open."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from gate.errors import ConfigError
from gate.log.kept import DecisionReader, Sought
from gate.log.opening import existing_log, open_log
from tests.log.decided import entry, kept


def test_what_is_written_is_read_now_and_after_it_was_opened_again(url: str) -> None:
    log = open_log(url, retention_days=None)
    reader: DecisionReader = log.reader
    kept(log, entry("a"))
    assert [each.id for each in reader.recent(Sought())] == ["a"]
    assert "://" not in log.place
    assert log.close() == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "gate-log"]
    again = open_log(url, retention_days=None)
    assert [each.id for each in again.reader.recent(Sought())] == ["a"]
    again.close()


def test_a_command_opens_only_what_is_there(tmp_path: Path, opened: Any) -> None:
    address = f"sqlite:///{tmp_path / 'none.db'}"
    with pytest.raises(ConfigError, match=r"none\.db: there is no decision log"), existing_log(address):
        pass
    opened(address)
    with existing_log(address) as engine:
        assert engine.url.database == str(tmp_path / "none.db")


def test_an_old_log_forgets_after_90_days_unless_told_otherwise(tmp_path: Path) -> None:
    log = open_log(f"sqlite:///{tmp_path / 'log.db'}")
    assert log.writer._retention == 90 * 86_400
    log.close()
