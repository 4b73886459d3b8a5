"""Many rows with one statement.

The writer shares its interpreter with the loop that answers requests, and whoever waits for a database lets go of the
interpreter and must wait for it again: on a busy loop up to 5 ms each time. Row by row (``executemany``) some 150 rows
a second came through beside a loop that never paused; with a statement for many, some 7,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Connection, Double, Engine
from sqlalchemy.exc import DataError, IntegrityError

from gate.log.address import is_sqlite
from gate.log.rows import Row
from gate.log.tables import DECISIONS, KEPT

BAD_ROW = (DataError, IntegrityError, OverflowError, TypeError, ValueError)
"""What a database and its driver raise for values they do not take: trying again would not help."""
_SIZES = (256, 64, 16, 4, 1)
"""Rows of one SQLite statement: few different ones, which it keeps prepared; 32,766 values are its limit."""
_COLUMNS = ", ".join(f'"{name}"' for name in KEPT)
_TYPES: dict[type, str] = {BigInteger: "bigint", Boolean: "boolean", Double: "double precision"}


class Inserter:
    """Puts rows into the tables. Rows whose decision is there already are left out: a batch may be tried again."""

    def __init__(self, engine: Engine) -> None:
        self._sqlite = is_sqlite(engine.url)
        self._statements = {size: _statements(size) for size in _SIZES}

    def __call__(self, connection: Connection, rows: Sequence[Row]) -> None:
        if self._sqlite:
            for part in _parts(rows):
                for_decisions, for_traces = self._statements[len(part)]
                connection.exec_driver_sql(for_decisions, tuple(chain.from_iterable(row for row, _ in part)))
                texts = chain.from_iterable((row[0], trace) for row, trace in part)
                connection.exec_driver_sql(for_traces, tuple(texts))
            return
        decisions = [dict(zip(KEPT, row, strict=True)) for row, _ in rows]
        traces = [{"id": row[0], "trace": trace} for row, trace in rows]
        for statement, listed in ((_DECISIONS, decisions), (_TRACES, traces)):
            connection.exec_driver_sql(statement, (orjson.dumps(listed).decode(),))


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    at = 0
    for size in _SIZES:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


def _statements(size: int) -> tuple[str, str]:
    one = f"({', '.join('?' * len(KEPT))})"
    return (
        f"INSERT INTO gate_decisions ({_COLUMNS}) VALUES {', '.join([one] * size)} ON CONFLICT DO NOTHING",  # noqa: S608
        f"INSERT INTO gate_traces (id, trace) VALUES {', '.join(['(?, ?)'] * size)} ON CONFLICT DO NOTHING",  # noqa: S608
    )


def _typed() -> str:
    listed: list[Any] = [DECISIONS.columns[name] for name in KEPT]
    return ", ".join(f'"{column.name}" {_TYPES.get(type(column.type), "text")}' for column in listed)


_DECISIONS = (
    f"INSERT INTO gate_decisions ({_COLUMNS}) SELECT {_COLUMNS} FROM json_to_recordset(%s::json) AS given({_typed()})"  # noqa: S608
    " ON CONFLICT DO NOTHING"
)
_TRACES = (
    "INSERT INTO gate_traces (id, trace) SELECT id, trace FROM json_to_recordset(%s::json)"
    " AS given(id text, trace text) ON CONFLICT DO NOTHING"
)
