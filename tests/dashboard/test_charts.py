"""Where marks stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.dashboard.charts import HEIGHT, WIDTH, Frame, columns, reliability, risk_coverage, rounded_up
from gate.dashboard.quality import BinView, Share, quality
from gate.log.kept import Audited


def test_the_corners_of_a_frame() -> None:
    frame = Frame(left=0.5, low=0.2, top=0.6)
    assert (frame.x(0.5), frame.x(1.0)) == (58.0, 378.0)
    assert (frame.y(0.2), frame.y(0.6)) == (258.0, 12.0)
    assert frame.middle == (218.0, 135.0)
    assert frame.diagonal == 0.5
    assert [axis.value for axis in frame.across] == [0.5, 0.625, 0.75, 0.875, 1.0]
    assert [axis.value for axis in frame.up] == [0.2, 0.3, 0.4, 0.5, 0.6]


@given(st.floats(-1, 2), st.floats(-1, 2))
def test_nothing_leaves_the_drawing(x: float, y: float) -> None:
    frame = Frame(0.4, 0.2, 0.8)
    assert 58 <= frame.x(x) < WIDTH
    assert 12 <= frame.y(y) < HEIGHT


def test_a_reliability_diagram_begins_where_there_is_something_to_see() -> None:
    sure = [BinView(0.97, Share(0.95, 0.84, 0.99, 40)), BinView(0.99, Share(1.0, 0.9, 1.0, 40))]
    drawn = reliability(sure)
    assert (drawn.frame.left, drawn.frame.low) == (0.96, 0.8)
    assert drawn.marks[0].y > drawn.marks[1].y, "higher is up"
    assert drawn.marks[0].low > drawn.marks[0].y > drawn.marks[0].high
    assert (reliability(()).frame.left, reliability(()).marks) == (0.0, ())


def test_the_curve_shows_the_promise_and_where_the_gate_stands() -> None:
    audited = [
        Audited(str(i), 0.5 + i / 200, i % 7 != 0, "answer" if i > 40 else "abstain", "observe", 0.5, reviewed=True)
        for i in range(90)
    ]
    drawn = risk_coverage(quality(audited, 0.1, 0.95), 0.1)
    assert drawn.level == drawn.frame.y(0.1)
    assert drawn.frame.top >= 0.2
    assert drawn.line.startswith("M")
    assert len(drawn.marks) == 1
    assert drawn.marks[0].x == drawn.frame.x(49 / 90)


def test_the_curve_of_nothing() -> None:
    drawn = risk_coverage(quality([], 0.05, 0.95), 0.05)
    assert (drawn.line, drawn.marks, drawn.frame.top) == ("", (), 0.2)


@pytest.mark.parametrize(
    ("value", "top"), [(0.11, 0.2), (0.2, 0.2), (0.05, 0.08), (0.9, 1.0), (1.0, 1.0), (0.003, 0.004)]
)
def test_tops_are_easy_to_quarter(value: float, top: float) -> None:
    assert rounded_up(value) == pytest.approx(top)


def test_columns_are_shares_of_the_tallest() -> None:
    assert columns([1.0, 4.0, 0.0]) == (25.0, 100.0, 0.0)
    assert columns([0.0, 0.0]) == (0.0, 0.0)
    assert columns([]) == ()
