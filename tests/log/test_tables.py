"""The tables as the code sees them, against what the migrations made, and the plans by which they are read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, inspect

from gate.log.kept import Kept, Sought
from gate.log.opening import existing_log
from gate.log.reader import LogReader
from gate.log.tables import KEPT, METADATA


def test_a_migrated_database_has_the_tables_that_the_code_sees(url: str, opened: Any) -> None:
    opened()
    with existing_log(url) as engine:
        known = inspect(engine)
        assert set(known.get_table_names()) == set(METADATA.tables)
        for name, table in METADATA.tables.items():
            made = {column["name"]: column["nullable"] for column in known.get_columns(name)}
            assert made | {"seq": False} == {column.name: column.nullable for column in table.columns} | {"seq": False}
            assert known.get_pk_constraint(name)["constrained_columns"] == [each.name for each in table.primary_key]


def test_the_columns_of_a_decision_are_the_fields_of_what_is_given_back() -> None:
    fields = [field.name for field in dataclasses.fields(Kept)]
    assert list(KEPT) == [name for name in fields if name not in ("explanation", "label")]


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        (lambda reader: reader.recent(Sought(before=9.0, before_id="x")), "gate_decisions_at"),
        (lambda reader: reader.recent(Sought(policy="mine", before=9.0)), "gate_decisions_policy"),
        (lambda reader: reader.recent(Sought(keys=("a",))), "gate_decisions_key"),
        (lambda reader: reader.waiting(), "gate_decisions_waiting"),
        (lambda reader: reader.waiting_count(), "gate_decisions_waiting"),
        (lambda reader: reader.totals(Sought(since=1.0)), "gate_decisions_at"),
        (lambda reader: reader.spent(1.0), "gate_decisions_at"),
    ],
    ids=["recent", "of_policy", "of_key", "waiting", "waiting_count", "totals", "spent"],
)
def test_no_list_is_read_by_going_through_the_whole_table(tmp_path: Path, opened: Any, asked: Any, index: str) -> None:
    log = opened(f"sqlite:///{tmp_path / 'planned.db'}")
    plans: list[str] = []
    _watch(log.engine, plans)
    asked(LogReader(log.engine))
    assert any(index in plan for plan in plans), plans
    assert not any(plan.startswith("SCAN gate_decisions") and "USING" not in plan for plan in plans), plans


def _watch(engine: Engine, plans: list[str]) -> None:
    """Notes the plan of every question that is put."""

    def planned(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if statement.startswith("SELECT"):
            own = cursor.connection.cursor()
            plans.extend(row[3] for row in own.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))
            own.close()

    event.listen(engine, "before_cursor_execute", planned)
