"""Addresses of logs: what is taken, what is refused, and that no password gets anywhere."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import DataError, OperationalError

from gate.errors import ConfigError, MissingExtra
from gate.log.address import cause, connected, for_writing, is_sqlite, place, read_address, unreadable
from gate.log.opening import open_log

SECRET = "s3cret-word"


@pytest.mark.parametrize(
    ("text", "driver", "where"),
    [
        ("sqlite:///decisions.db", "sqlite", "decisions.db"),
        ("sqlite:////var/lib/gate/log.db", "sqlite", "/var/lib/gate/log.db"),
        ("postgresql://me:s3cret-word@db.example/gate", "postgresql+psycopg", "gate at db.example"),
        ("postgres://me@db.example:5433/gate?sslmode=require", "postgresql+psycopg", "gate at db.example"),
        ("postgresql+psycopg:///gate?password=s3cret-word", "postgresql+psycopg", "gate at this machine"),
    ],
)
def test_an_address_gets_its_driver_and_is_named_without_its_user(text: str, driver: str, where: str) -> None:
    url = read_address(text)
    assert (url.drivername, place(url), is_sqlite(url)) == (driver, where, driver == "sqlite")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("decisions.db", "cannot be read: write it as sqlite:///decisions.db or postgresql"),
        ("", "cannot be read"),
        ("postgresql://me:s3cret-word@host:port/x", "cannot be read"),
        ("mysql://me:s3cret-word@host/x", "cannot be kept in 'mysql'"),
        ("sqlite://", "names a file and nothing else"),
        ("sqlite:///:memory:", "names a file and nothing else"),
        ("sqlite:///x.db?key=s3cret-word", "names a file and nothing else"),
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_address(text)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "text", [f"postgresql://me:{SECRET}@127.0.0.1:1/gate", f"postgresql://127.0.0.1:1/gate?user=me&password={SECRET}"]
)
def test_a_server_that_is_away_is_named_without_the_password(text: str, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("psycopg", reason="psycopg is an extra")
    with pytest.raises(ConfigError, match=r"gate at 127\.0\.0\.1: .*cannot be reached: is it running") as caught:
        open_log(text)
    assert SECRET not in str(caught.value) + caplog.text
    assert caught.value.__suppress_context__


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.log.address.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"gate-llm\[postgres\]"):
        connected(read_address("postgresql://me@127.0.0.1:1/x"))


def test_a_file_is_made_for_its_owner_alone_and_set_up_for_several_processes(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "log.db"
    url = read_address(f"sqlite:///{path}")
    with pytest.raises(ConfigError, match="there is no decision log"):
        connected(url, create=False)
    assert not path.exists()
    engine = connected(url)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with engine.connect() as connection:
        told = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "secure_delete")
        }
    engine.dispose()
    assert told == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 5000, "secure_delete": 1}
    connected(url, create=False).dispose()


def test_who_writes_has_its_turn_from_the_start(tmp_path: Path) -> None:
    """Two that read before they write would else both fail: each waits for the other."""
    path = tmp_path / "log.db"
    engine = connected(read_address(f"sqlite:///{path}"))
    other = sqlite3.connect(path, timeout=0)
    with for_writing(engine).begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    with engine.begin():
        other.execute("BEGIN IMMEDIATE")
    other.close()
    engine.dispose()


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/log\.db: the decision log cannot be written"):
        connected(read_address(f"sqlite:///{tmp_path / 'file' / 'log.db'}"))


def test_to_connect_again_leaves_the_locks_of_this_process_alone(tmp_path: Path) -> None:
    address = read_address(f"sqlite:///{tmp_path / 'log.db'}")
    first = connected(address)
    with for_writing(first).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (number INTEGER)")
    connected(address).dispose()
    code = f"import sqlite3; sqlite3.connect({str(tmp_path / 'log.db')!r}).execute('SELECT * FROM numbers')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "log.db-wal").exists(), "the other process must not take itself for the last"
    first.dispose()


def test_a_link_that_leads_nowhere_yet_is_followed_and_what_it_leads_to_is_the_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "log.db").symlink_to(tmp_path / "elsewhere" / "real.db")
    open_log(f"sqlite:///{tmp_path / 'log.db'}").close()
    assert stat.S_IMODE((tmp_path / "elsewhere" / "real.db").stat().st_mode) == 0o600


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written: (File exists|Not a directory)"):
        open_log(f"sqlite:///{tmp_path / 'file' / 'log.db'}")


def test_the_cause_of_an_error_holds_no_statement_and_no_values(tmp_path: Path) -> None:
    psycopg = pytest.importorskip("psycopg", reason="psycopg is an extra")
    refused = psycopg.errors.InvalidPassword(f"no user {SECRET}")
    for original, said in (
        (sqlite3.OperationalError("database is locked"), "database is locked"),
        (
            psycopg.OperationalError(f"no such host, with {SECRET}"),
            "it cannot be reached: is it running, and the addre",
        ),
        (refused, "it refused the user or password"),
        (psycopg.errors.NumericValueOutOfRange(SECRET), "NumericValueOutOfRange (22003)"),
    ):
        kind = DataError if said.startswith("Numeric") else OperationalError
        told = cause(kind(f"INSERT {SECRET}", {"value": SECRET}, original))
        assert told.startswith(said)
        assert SECRET not in told
    engine = connected(read_address(f"sqlite:///{tmp_path / 'log.db'}"))
    assert str(unreadable(engine, OperationalError("SELECT", None, sqlite3.OperationalError("disk I/O error")))) == (
        f"the decision log {tmp_path / 'log.db'} cannot be used: disk I/O error"
    )
    engine.dispose()


def test_what_must_outlive_a_loss_of_power_waits_for_the_disk(tmp_path: Path) -> None:
    levels = []
    for durable in (False, True):
        log = open_log(f"sqlite:///{tmp_path / 'log.db'}", durable=durable)
        with log.engine.connect() as connection:
            levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())
        log.close()
    assert levels == [1, 2]
