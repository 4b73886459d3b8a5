"""The table: what goes in comes out, in its row and its stage."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gate.full_evidence import Seen
from gate.tuning import table as tables
from gate.tuning.table import COSTS, Row, Table, TableMaker
from gate.types import Cost, Reading, SignalVector, Stage

SMALL, MORE, LARGE = Stage("small"), Stage("small", tier=1), Stage("large")
ORDER = (SMALL, MORE, LARGE)


def seen(stage: Stage, *values: float | None, **said: bool) -> Seen:
    readings = [Reading(f"s{i}", v, "lost" if v is None else None) for i, v in enumerate(values)]
    return Seen(stage, SignalVector(tuple(readings)), "draft", Cost(2, 10, 5, 0.5, 0.25), **said)


def made(*rows: Row, complete: bool = True) -> Table:
    maker = TableMaker(("s0", "s1"), ORDER, complete)
    for row in rows:
        maker.add(row)
    return maker.made()


def test_worked_rows() -> None:
    table = made(
        Row("a", "x", [seen(SMALL, 0.5, None), seen(MORE, 0.25, 3.0)], [True, None]),
        Row("b", "y", [seen(SMALL, 1.0, 2.0, declined=True)], [False]),
        Row("c", "y", [seen(SMALL, 1.0, 2.0, cut_short=True), seen(LARGE, 0.0, 0.0)], [False, False]),
    )
    assert len(table) == 3
    assert (table.ids.tolist(), table.segments.tolist()) == (["a", "b", "c"], ["x", "y", "y"])
    assert table.weights.tolist() == [1.0, 1.0, 1.0]
    assert list(table.stages) == [stage.key for stage in ORDER]
    first = table.stages[SMALL.key]
    assert np.array_equal(first.values, np.array([[0.5, np.nan], [1, 2], [1, 2]], np.float32), equal_nan=True)
    assert (first.answerable.tolist(), first.whole.tolist()) == ([True, False, False], [True, True, False])
    assert first.correct.tolist() == [1.0, 0.0, 0.0]
    assert {name: first.costs[name].tolist() for name in COSTS} == {
        "money": [0.25] * 3,
        "calls": [2.0] * 3,
        "tokens": [15.0] * 3,
        "seconds": [0.5] * 3,
    }
    more = table.stages[MORE.key]
    assert more.there.tolist() == [True, False, False]
    assert np.isnan(more.correct).all()
    assert more.costs["money"].tolist() == [0.25, 0.0, 0.0]
    assert np.isnan(more.values[1:]).all()
    assert table.stages[LARGE.key].correct.tolist()[2] == 0.0


def test_stages_that_nobody_was_seen_in_are_there_and_empty() -> None:
    for complete in (True, False):
        table = made(Row("a", "", [seen(SMALL, 0.5, 1.0)], [True]), complete=complete)
        assert list(table.stages) == [stage.key for stage in ORDER]
        assert not table.stages[LARGE.key].there.any()
        assert table.stages[LARGE.key].values.shape == (1, 2)


def test_no_rows_make_an_empty_table() -> None:
    table = made()
    assert len(table) == 0
    assert [len(column.there) for column in table.stages.values()] == [0, 0, 0]


CELLS = st.lists(st.lists(st.none() | st.floats(-8, 8, width=32), min_size=2, max_size=2), min_size=1, max_size=60)


@given(CELLS, st.integers(1, 7))
def test_blocks_of_any_size_make_the_same_table(rows: list[list[float | None]], block: int) -> None:
    """Rows are kept in blocks; where one ends makes no difference, nor do rows that skip a stage."""
    given_rows = [
        Row(
            f"q{i}",
            "",
            [seen(SMALL, *values), *([seen(LARGE, *values)] if i % 3 else [])],
            [True, False][: 1 + bool(i % 3)],
        )
        for i, values in enumerate(rows)
    ]
    whole, held = made(*given_rows), tables._BLOCK
    tables._BLOCK = block
    try:
        parts = made(*given_rows)
    finally:
        tables._BLOCK = held
    for key, column in whole.stages.items():
        other = parts.stages[key]
        assert np.array_equal(column.values, other.values, equal_nan=True)
        assert np.array_equal(column.correct, other.correct, equal_nan=True)
        assert np.array_equal(column.there, other.there)
    expected = np.array([[np.nan if v is None else v for v in values] for values in rows], np.float32)
    assert np.array_equal(whole.stages[SMALL.key].values, expected, equal_nan=True)
    assert whole.stages[LARGE.key].there.tolist() == [bool(i % 3) for i in range(len(rows))]


def test_rows_can_be_chosen_by_mask_by_place_and_by_split() -> None:
    maker = TableMaker(("s0",), (SMALL,))
    for place, split in enumerate(("fit", "certify", "fit", "test")):
        maker.begin(f"q{place}", "", split, 1.0 + place)
        maker.cell(SMALL.key, {"s0": place}, bool(place % 2), answerable=True, whole=True, costs=(place, 1, 1, 1))
    table = maker.made()
    assert table.of_split("fit").ids.tolist() == ["q0", "q2"]
    assert table.of_split("fit").weights.tolist() == [1.0, 3.0]
    assert len(table.of_split("none")) == 0
    chosen = table.where(np.array([3, 1]))
    assert (chosen.ids.tolist(), chosen.splits.tolist()) == (["q3", "q1"], ["test", "certify"])
    column = chosen.stages[SMALL.key]
    assert (column.values[:, 0].tolist(), column.costs["money"].tolist()) == ([3.0, 1.0], [3.0, 1.0])
    assert column.correct.tolist() == [1.0, 1.0]
    assert table.where(table.weights > 3).ids.tolist() == ["q3"]


def test_a_signal_that_was_not_read_is_missing_and_one_not_asked_for_is_left_out() -> None:
    maker = TableMaker(("s0", "s1"), (SMALL,))
    maker.begin("q", "")
    maker.cell(SMALL.key, {"s1": 2.0, "other": 9.0}, None, answerable=True, whole=True, costs=(0, 0, 0, 0))
    assert np.array_equal(maker.made().stages[SMALL.key].values, [[np.nan, 2.0]], equal_nan=True)
