"""Opening a decision log: its writer and its reader, over tables that are brought up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine

from gate.log.address import connected, place, read_address
from gate.log.migrations import hash_key, migrate
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

    def close(self, seconds: float = 5.0) -> int:
        """Write what is waiting, as far as that goes within ``seconds``, and close; how many decisions were lost."""
        lost = self.writer.close(seconds)
        if self.writer.stopped:
            self.engine.dispose()
        return lost


def open_log(
    url: str,
    *,
    keep: Keep = "scalars",
    retention_days: float | None = 90,
    queue: int = 10_000,
    when_full: WhenFull = "drop",
) -> DecisionLog:
    """Open, or make, the log at ``url`` (``sqlite:///decisions.db``, ``postgresql://…``), and start its writer.

    Blocks. Raises `ConfigError` where it cannot be opened or a newer gate made it, `MissingExtra` without psycopg.
    """
    engine = _prepared(url, create=True)
    make = RowMaker(keep, hash_key(engine))
    writer = LogWriter(engine, make, queue=queue, when_full=when_full, retention_days=retention_days)
    return DecisionLog(writer, LogReader(engine, keep), place(engine.url), engine)


@contextmanager
def existing_log(url: str) -> Iterator[Engine]:
    """A log that is there, for a command. Raises as `open_log`, and where there is no such file."""
    engine = _prepared(url, create=False)
    try:
        yield engine
    finally:
        engine.dispose()


def _prepared(url: str, *, create: bool) -> Engine:
    engine = connected(read_address(url), create=create)
    with ExitStack() as failing:
        failing.callback(engine.dispose)
        migrate(engine)
        failing.pop_all()
    return engine
