"""AUROC and ECE on worked values, and what they must not depend on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.metrics import auroc, expected_calibration_error

P = (0.95, 0.90, 0.80, 0.70, 0.60, 0.55, 0.40, 0.30)
Y = (True, True, False, True, True, False, False, False)


def test_worked_values() -> None:
    assert auroc(P, Y) == pytest.approx(0.875)
    assert expected_calibration_error(P, Y, bins=5) == pytest.approx(0.1875)
    assert expected_calibration_error(P, Y, bins=10) == pytest.approx(0.2625)


def test_ties_count_half_and_one_class_has_no_auroc() -> None:
    assert auroc((0.5, 0.5), (True, False)) == 0.5
    assert auroc((0.1, 0.9), (True, True)) is None


def test_a_value_a_hair_above_an_edge_stays_in_the_bin_below() -> None:
    above = expected_calibration_error((0.7000000000000001, 0.65), (True, False))
    assert above == pytest.approx(expected_calibration_error((0.7, 0.65), (True, False)))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60))
def test_a_monotone_change_leaves_auroc_and_ece_stays_in_range(rows: list[tuple[float, bool]]) -> None:
    p, y = [round(row[0], 6) for row in rows], [row[1] for row in rows]
    assert auroc(p, y) == auroc([math.exp(3 * x) for x in p], y)
    assert 0 <= expected_calibration_error(p, y) <= 1
