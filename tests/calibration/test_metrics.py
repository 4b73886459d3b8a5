"""Metrics: worked values, and what must hold whatever the data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.metrics import (
    auprc_error,
    aurc,
    auroc,
    expected_calibration_error,
    prediction_rejection_ratio,
    risk_coverage,
)

CONFIDENCE = [0.95, 0.90, 0.80, 0.70, 0.60, 0.55, 0.40, 0.30]
CORRECT = [True, True, False, True, True, False, False, False]
CURVE = [0, 0, 1 / 3, 1 / 4, 1 / 5, 1 / 3, 3 / 7, 1 / 2]
RANKING = (auroc, auprc_error, aurc, prediction_rejection_ratio)
ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1
)


@pytest.mark.parametrize(
    ("metric", "value"),
    [(auroc, 0.875), (auprc_error, 0.916667), (aurc, 0.255655), (prediction_rejection_ratio, 0.770169)],
)
def test_worked_values(metric: object, value: float) -> None:
    assert callable(metric)
    assert metric(CONFIDENCE, CORRECT) == pytest.approx(value, abs=1e-5)


def test_the_curve_of_the_worked_example() -> None:
    assert risk_coverage(CONFIDENCE, CORRECT) == pytest.approx(CURVE)
    assert risk_coverage(CORRECT, CORRECT).mean() == pytest.approx(0.182738, abs=1e-6)  # the best there is


@pytest.mark.parametrize(("bins", "value"), [(5, 0.1875), (10, 0.2625)])
def test_worked_calibration_errors(bins: int, value: float) -> None:
    assert expected_calibration_error(CONFIDENCE, CORRECT, bins) == pytest.approx(value)


def test_a_value_on_the_edge_of_a_bin_falls_below_it_however_it_was_computed() -> None:
    assert expected_calibration_error([0.7, 0.1 * 7], [True, False], 10) == pytest.approx(0.2)


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_one_class_has_no_ranking(labels: list[bool]) -> None:
    confidence = [0.5] * len(labels)
    for metric in (auroc, auprc_error, prediction_rejection_ratio):
        assert metric(confidence, labels) is None
    assert aurc(confidence, labels) == (None if not labels else float(not labels[0]))


def test_a_constant_ranks_as_chance_does() -> None:
    constant = [0.5] * 8
    assert auroc(constant, CORRECT) == pytest.approx(0.5)
    assert auprc_error(constant, CORRECT) == pytest.approx(0.5)
    assert aurc(constant, CORRECT) == pytest.approx(0.5)
    assert prediction_rejection_ratio(constant, CORRECT) == pytest.approx(0.0)
    assert expected_calibration_error(constant, CORRECT) == pytest.approx(0.0)


@given(ROWS)
def test_a_curve_with_ties_is_the_mean_over_the_orders_they_could_have(rows: list[tuple[float, bool]]) -> None:
    rows = rows[:6]
    confidence, correct = [c for c, _ in rows], [y for _, y in rows]
    orders = [o for o in itertools.permutations(range(len(rows))) if _sorted([confidence[i] for i in o])]
    curves = [np.cumsum([not correct[i] for i in o]) / np.arange(1, len(rows) + 1) for o in orders]
    assert risk_coverage(confidence, correct) == pytest.approx(np.mean(curves, axis=0))


def _sorted(values: list[float]) -> bool:
    return values == sorted(values, reverse=True)


@given(ROWS)
def test_ranking_looks_at_the_order_alone(rows: list[tuple[float, bool]]) -> None:
    correct = [y for _, y in rows]
    ranks = {c: place for place, c in enumerate(sorted({c for c, _ in rows}))}
    for metric in RANKING:
        one, other = metric([c for c, _ in rows], correct), metric([float(ranks[c] ** 3) for c, _ in rows], correct)
        assert one == (None if other is None else pytest.approx(other))


@given(ROWS)
def test_a_perfect_order_is_as_good_as_it_gets_and_its_reverse_as_bad(rows: list[tuple[float, bool]]) -> None:
    correct = [y for _, y in rows]
    best, worst = [float(y) for y in correct], [float(not y) for y in correct]
    given_ = [c for c, _ in rows]
    if 0 < sum(correct) < len(correct):
        assert (auroc(best, correct), auprc_error(best, correct)) == (1.0, 1.0)
        assert auroc(worst, correct) == 0.0
        assert prediction_rejection_ratio(best, correct) == pytest.approx(1.0)
    low, mid, high = (aurc(c, correct) for c in (best, given_, worst))
    assert low is not None
    assert mid is not None
    assert high is not None
    assert low - 1e-12 <= mid <= high + 1e-12


@given(ROWS)
def test_the_calibration_error_lies_between_nought_and_one(rows: list[tuple[float, bool]]) -> None:
    assert 0.0 <= expected_calibration_error([c for c, _ in rows], [y for _, y in rows]) <= 1.0


@pytest.mark.parametrize("metric", [*RANKING, expected_calibration_error])
def test_what_is_no_data_is_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="as long as each other"):
        metric([0.5], [True, False])
    with pytest.raises(ValueError, match="not a number"):
        metric([0.5, float("nan")], [True, False])
