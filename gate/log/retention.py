"""Forgetting: decisions, their traces and their labels, in small batches so that writing is never held up for long."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Engine, and_, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from gate.errors import GateError
from gate.log.address import for_writing, is_sqlite, place, unreadable
from gate.log.tables import DECISIONS, LABELS, TRACES

BATCH = 500
"""Decisions that one transaction forgets."""
_PAUSE = 0.02
"""Seconds between two batches, in which others write."""


def purge(engine: Engine, older_than: float, *, keys: Sequence[str] | None = None, question_hash: str = "") -> int:
    """Forget all decisions from before ``older_than`` (seconds since 1970), of these keys or of all, and how many.

    With ``question_hash``, those of one question alone. Raises `GateError` where the log cannot be used: what was
    forgotten till then stays so.
    """
    forgotten = 0
    while count := purge_some(engine, older_than, keys=keys, question_hash=question_hash):
        forgotten += count
        if count < BATCH:
            break
        time.sleep(_PAUSE)
    if forgotten:
        _leave_no_copy(engine)
    return forgotten


def purge_some(
    engine: Engine, older_than: float, *, keys: Sequence[str] | None = None, question_hash: str = "", limit: int = BATCH
) -> int:
    """Forget up to ``limit`` of them, the oldest first, and how many that were."""
    which = _meant(older_than, keys, question_hash)
    oldest = select(DECISIONS.c.id).where(which).order_by(DECISIONS.c.at, DECISIONS.c.id).limit(limit)
    try:
        with for_writing(engine).begin() as connection:
            # locked: who labels one of them at this moment is waited for, and of two that purge none counts it twice
            ids = connection.scalars(oldest.with_for_update()).all()
            for column in (DECISIONS.c.id, TRACES.c.id, LABELS.c.decision) if ids else ():
                connection.execute(delete(column.table).where(column.in_(ids)))
    except SQLAlchemyError as error:
        raise unreadable(engine, error) from None
    return len(ids)


def count(engine: Engine, older_than: float, *, keys: Sequence[str] | None = None, question_hash: str = "") -> int:
    """How many decisions `purge` would forget."""
    asked = select(func.count()).select_from(DECISIONS).where(_meant(older_than, keys, question_hash))
    try:
        with engine.connect() as connection:
            return int(connection.scalar(asked) or 0)
    except SQLAlchemyError as error:
        raise unreadable(engine, error) from None


def _meant(older_than: float, keys: Sequence[str] | None, question_hash: str) -> ColumnElement[bool]:
    which: list[ColumnElement[bool]] = [DECISIONS.c.at < older_than]
    if keys is not None:
        which.append(DECISIONS.c.key.in_(keys))
    if question_hash:  # the index holds no empty hashes: SQLite uses it only where that is said
        which += [DECISIONS.c.question_hash != "", DECISIONS.c.question_hash == question_hash]
    return and_(*which)


def _leave_no_copy(engine: Engine) -> None:
    """SQLite keeps what was written in its write-ahead log until that is begun anew."""
    if not is_sqlite(engine.url):
        return
    try:
        with engine.connect() as connection:
            cursor = connection.connection.cursor()  # it cannot be done within a transaction
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.close()
    except sqlite3.Error as error:
        raise GateError(f"the decision log {place(engine.url)} cannot be used: {error}") from None
