"""Where a decision log is: SQLite by default, PostgreSQL by its address. What connects to it, and what its errors say.

The engines are synchronous: writing happens on one thread of its own and reading on threads that may wait, so that
asynchronous drivers would gain nothing. An address may hold a password: it is in no error and in no log.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from gate.errors import ConfigError, GateError, MissingExtra

BUSY = 5.0
"""Seconds that one process waits for another to have written to the same SQLite file."""
_REACHED: dict[str, int | str] = {
    "application_name": "gate",
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""How a PostgreSQL server is reached where the address says nothing else: seconds, the last of them in milliseconds."""
_KNOWN = "sqlite:///decisions.db or postgresql://user:password@host/database"
_POSTGRES = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
_BEGIN = "gate_begin"
_PAGES = 4000
"""Of 4 KiB, after which SQLite moves what was written from its write-ahead log into the file."""


def read_address(text: str) -> URL:
    """The address with its driver. Raises `ConfigError`, which does not repeat it, for what is none."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(f"the address of the decision log cannot be read: write it as {_KNOWN}") from None
    if url.drivername in _POSTGRES:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise ConfigError(f"a decision log cannot be kept in {url.drivername!r}: give {_KNOWN}")
    if not url.database or url.database == ":memory:" or url.host or url.query:
        raise ConfigError("the address of a SQLite log names a file and nothing else: sqlite:///decisions.db")
    return url


def place(url: URL) -> str:
    """Where it is, for people: no user, no password, no options."""
    return str(url.database) if is_sqlite(url) else f"{url.database or 'postgres'} at {url.host or 'this machine'}"


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def connected(url: URL, *, create: bool = True, durable: bool = False) -> Engine:
    """The engine for an address of `read_address`. SQLite files are made readable by their owner alone.

    ``durable``: what was committed also outlives a loss of power, at the price of waiting for the disk. PostgreSQL does
    so by itself.

    Raises `MissingExtra` without psycopg, and `ConfigError` where a file cannot be made, or is not there and is not to
    be made.
    """
    if is_sqlite(url):
        _make_file(Path(str(url.database)), create=create)
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY})
        event.listen(engine, "connect", _set_up)
        if durable:
            event.listen(engine, "connect", _wait_for_disk)
        event.listen(engine, "begin", _begin)
        return engine
    if find_spec("psycopg") is None:
        raise MissingExtra("psycopg", "postgres")
    told = {name: value for name, value in _REACHED.items() if name not in url.query}
    return create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=told)


def moved(url: URL, inode: int | None) -> bool:
    """Whether the file of an SQLite log is no longer the one that was opened: what is written then is lost."""
    return is_sqlite(url) and inode_of(url) != inode


def inode_of(url: URL) -> int | None:
    """Of an SQLite log's file; None where there is none."""
    try:
        return Path(str(url.database)).stat().st_ino if is_sqlite(url) else None
    except OSError:
        return None


def for_writing(engine: Engine) -> Engine:
    """The same engine; a transaction waits for its turn to write at its start, where waiting is possible."""
    return engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


def cause(error: SQLAlchemyError) -> str:
    """What went wrong, fit for any log: no statement, no values, no address."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return type(error).__name__
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return str(original)  # of SQLite's own: names of tables and columns at most
    code = getattr(original, "sqlstate", None)
    if code is None:
        return "it cannot be reached: is it running, and the address right?"
    if code.startswith("28"):
        return "it refused the user or password"
    return f"{type(original).__name__} ({code})"


def unreadable(engine: Engine, error: SQLAlchemyError) -> GateError:
    return GateError(f"the decision log {place(engine.url)} cannot be used: {cause(error)}")


def _make_file(path: Path, *, create: bool) -> None:
    if not create and not path.is_file():
        raise ConfigError("there is no decision log", where=str(path))
    path = path.resolve()  # of a link that leads nowhere yet, where it leads
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the decision log cannot be written: {error.strerror}", where=str(path)) from error
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # one that is there is not opened: to close it would end the locks of all in this process that have it open
        if path.is_dir() or not os.access(path, os.R_OK | os.W_OK):
            why = errno.EISDIR if path.is_dir() else errno.EACCES
            raise ConfigError(f"the decision log cannot be written: {os.strerror(why)}", where=str(path)) from None
    except OSError as error:
        raise ConfigError(f"the decision log cannot be written: {error.strerror}", where=str(path)) from error


def _set_up(connection: Any, entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # gate begins its transactions itself: see `_begin`
    cursor = connection.cursor()
    use_wal(cursor)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute(f"PRAGMA wal_autocheckpoint={_PAGES}")
    cursor.execute("PRAGMA secure_delete=ON")  # what was purged is not to be found in the file
    cursor.close()


def _wait_for_disk(connection: Any, entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def use_wal(cursor: Any) -> None:
    """SQLite does not wait where two processes change a new file to write-ahead logging at once: so we do."""
    until = time.monotonic() + BUSY
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
