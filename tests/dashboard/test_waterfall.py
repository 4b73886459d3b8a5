"""The bars of an explanation follow each other from the average question to p."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.dashboard.waterfall import log_odds, waterfall

SIGNALS = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.floats(-8, 8), max_size=8)


def test_a_worked_one() -> None:
    drawn = waterfall(1.0, {"a": 0.5, "b": -2.0, "c": 0.01, "d": -0.005}, 1 / (1 + math.exp(0.495)), 0.9)
    assert [(b.name, b.kind) for b in drawn.bars] == [
        ("", "base"), ("b", "down"), ("a", "up"), ("2 more", "rest"), ("", "end"),
    ]  # fmt: skip
    assert drawn.bars[3].added == pytest.approx(0.005)
    assert drawn.bars[-1].added == pytest.approx(-0.495)
    # from -1 (the lowest that is reached) to the threshold's log-odds of 2.197, .35 free at each end
    span = log_odds(0.9) + 1 + 2 * 0.35
    assert drawn.bars[1].left == pytest.approx(100 * 0.35 / span, abs=0.01)
    assert drawn.bars[1].width == pytest.approx(100 * 2 / span, abs=0.01)
    assert drawn.threshold == pytest.approx(100 * (log_odds(0.9) + 1.35) / span, abs=0.01)
    assert not drawn.recalibrated
    assert 0.5 in [tick.p for tick in drawn.ticks]


@given(st.floats(-5, 5), SIGNALS, st.floats(0, 1), st.none() | st.floats(0, 1))
def test_nothing_is_drawn_outside_and_every_bar_begins_where_the_last_ended(
    base: float, added: dict[str, float], p: float, threshold: float | None
) -> None:
    drawn = waterfall(base, added, p, threshold)
    for bar in drawn.bars:
        assert bar.left >= -0.01
        assert bar.left + bar.width <= 100.01
        assert bar.width >= 0
    for before, after in zip(drawn.bars[:-2], drawn.bars[1:-1], strict=True):
        assert before.to == pytest.approx(after.left if after.added >= 0 else after.left + after.width, abs=0.01)
    assert drawn.threshold is None or 0 <= drawn.threshold <= 100
    assert sum(bar.added for bar in drawn.bars[:-1]) == pytest.approx(base + sum(added.values()), abs=1e-9)


def test_a_threshold_that_is_always_or_never_met_has_no_place() -> None:
    assert waterfall(0.0, {}, 0.5, 1.0).threshold is None
    assert waterfall(0.0, {}, 0.5, 0.0).threshold is None
    assert waterfall(0.0, {}, 0.5, 0.99999).threshold is None
    assert waterfall(0.0, {}, 0.5, None).threshold is None


def test_a_last_step_of_the_calibrator_is_told() -> None:
    assert waterfall(0.0, {"a": 1.0}, 0.6, None).recalibrated
    assert not waterfall(0.0, {"a": 1.0}, 1 / (1 + math.exp(-1)), None).recalibrated
    assert not waterfall(20.0, {}, 1.0, None).recalibrated, "beyond what p can say"


def test_labels_of_the_scale_do_not_meet() -> None:
    ticks = waterfall(6.0, {"a": -12.0}, 0.5, None).ticks
    assert all(b.at - a.at >= 11 for a, b in pairwise(ticks))
