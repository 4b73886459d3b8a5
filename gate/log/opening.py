"""Opening a decision log: its writer and its reader, over tables that are brought up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from gate.log.address import connected, is_sqlite, place, read_address
from gate.log.migrations import check, hash_key, migrate
from gate.log.reader import LogReader
from gate.log.rows import Keep, RowMaker
from gate.log.writer import LogWriter, WhenFull


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """An open log. It belongs to the process that opened it: each worker opens its own."""

    writer: LogWriter
    reader: LogReader
    place: str
    """Where it is, without user and password."""
    engine: Engine
    """For reading; the writer has connections of its own."""

    def close(self, seconds: float = 5.0) -> int:
        """Write what is waiting, as far as that goes within ``seconds``, and close; how many decisions were lost."""
        lost = self.writer.close(seconds)
        if self.writer.stopped:
            self.writer.engine.dispose()
        self.engine.dispose()
        return lost


def open_log(
    url: str,
    *,
    keep: Keep = "scalars",
    retention_days: float | None = 90,
    queue: int = 10_000,
    when_full: WhenFull = "drop",
    durable: bool = False,
) -> DecisionLog:
    """Open, or make, the log at ``url`` (``sqlite:///decisions.db``, ``postgresql://…``), and start its writer.

    ``durable``: what is told to be kept (`LogWriter.keep`) also outlives a loss of power.

    Blocks. Raises `ConfigError` where it cannot be opened or a newer gate made it, `MissingExtra` without psycopg.
    """
    engine = _prepared(url, create=True, durable=durable)
    make = RowMaker(keep, hash_key(engine))
    written = connected(engine.url, durable=durable)
    writer = LogWriter(written, make, queue=queue, when_full=when_full, retention_days=retention_days)
    return DecisionLog(writer, LogReader(engine, keep), place(engine.url), engine)


def check_log(url: str) -> None:
    """Whether `open_log` could open it. Changes nothing: no tables are made or brought up to date, nothing is purged.

    Blocks. Raises as `open_log`.
    """
    address = read_address(url)
    if is_sqlite(address) and not Path(str(address.database)).exists():
        return  # whoever opens it makes it
    engine = connected(address)
    try:
        check(engine)
    finally:
        engine.dispose()


@contextmanager
def existing_log(url: str) -> Iterator[Engine]:
    """A log that is there, for a command. Raises as `open_log`, and where there is no such file."""
    engine = _prepared(url, create=False)
    try:
        yield engine
    finally:
        engine.dispose()


def _prepared(url: str, *, create: bool, durable: bool = False) -> Engine:
    engine = connected(read_address(url), create=create, durable=durable)
    with ExitStack() as failing:
        failing.callback(engine.dispose)
        migrate(engine)
        failing.pop_all()
    return engine
