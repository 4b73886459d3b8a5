"""Many rows with one statement: any number of them, each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from gate.log.entries import Entry
from gate.log.inserting import BAD_ROW, Inserter
from gate.log.kept import Sought
from gate.log.rows import RowMaker
from tests.log.decided import entry, record


def rows(log: Any, *ids: str) -> list[Any]:
    make = RowMaker("scalars", b"0" * 32)
    return [make(entry(id_, audit=0.25, request_id="Où 東京 \ud800\0")) for id_ in ids]


@pytest.mark.parametrize("count", [0, 1, 3, 64, 401])
def test_any_number_of_rows_is_written_and_no_more(opened: Any, count: int) -> None:
    log = opened()
    with log.engine.begin() as connection:
        Inserter(log.engine)(connection, rows(log, *map(str, range(count))))
    with log.engine.connect() as connection:
        for table in ("gate_decisions", "gate_traces"):
            found = connection.execute(text(f"SELECT id FROM {table}")).scalars()
            assert sorted(map(int, found)) == list(range(count))


def test_few_statements_are_made_of_many_rows(tmp_path: Path, opened: Any) -> None:
    """Beside a busy loop each of them may cost 5 ms, and so does each row of an ``executemany``."""
    log = opened(f"sqlite:///{tmp_path / 'log.db'}")
    made: list[bool] = []
    event.listen(log.engine, "before_cursor_execute", lambda *told: made.append(told[-1]))
    with log.engine.begin() as connection:
        Inserter(log.engine)(connection, rows(log, *map(str, range(401))))
    assert len(made) == 11, "to begin, and two for each of 256, 64, 64, 16 and 1 rows"
    assert not any(made), "none of them row by row"


def test_a_batch_may_be_written_twice(opened: Any) -> None:
    log = opened()
    insert = Inserter(log.engine)
    for ids in (("a", "b", "c", "d"), ("c", "d", "e", "e")):
        with log.engine.begin() as connection:
            insert(connection, rows(log, *ids))
    assert [kept.id for kept in reversed(log.reader.recent(Sought()))] == ["a", "b", "c", "d", "e"]


def test_every_kind_of_value_comes_back_as_it_was(opened: Any) -> None:
    log = opened()
    (made,) = rows(log, "a")
    with log.engine.begin() as connection:
        Inserter(log.engine)(connection, [made])
    (kept,) = log.reader.recent(Sought())
    assert (kept.request_id, kept.audit, kept.certified, kept.streamed) == ("Où 東京 ?\ufffd", 0.25, True, False)
    assert (kept.p, kept.calls, kept.money, kept.status) == (0.9, 1, 0.5, 200)
    assert log.reader.trace("a") == record("a")


def test_values_that_no_database_takes_are_the_rows_fault(opened: Any) -> None:
    log, make = opened(), RowMaker("scalars", b"0" * 32)
    with pytest.raises(BAD_ROW), log.engine.begin() as connection:
        Inserter(log.engine)(connection, [make(Entry(record("a"), status=2**70))])
