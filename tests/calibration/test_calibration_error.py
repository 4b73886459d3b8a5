"""Calibration errors: worked values, bins that hang on neither rounding nor order, the smooth one and its integral."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.calibration_error import (
    Bin,
    expected_calibration_error,
    reliability_bins,
    smooth_calibration_error,
    sweep_bins,
    sweep_calibration_error,
)

CONFIDENCE = [0.95, 0.90, 0.80, 0.70, 0.60, 0.55, 0.40, 0.30]
CORRECT = [True, True, False, True, True, False, False, False]
ERRORS = (expected_calibration_error, sweep_calibration_error, smooth_calibration_error)
ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1
)


@pytest.mark.parametrize(
    ("bins", "equal_mass", "value"), [(5, False, 0.1875), (10, False, 0.2625), (4, True, 0.1875), (2, True, 0.15)]
)
def test_worked_errors_by_bins(bins: int, equal_mass: bool, value: float) -> None:
    assert expected_calibration_error(CONFIDENCE, CORRECT, bins, equal_mass=equal_mass) == pytest.approx(value)


def test_the_worked_sweep() -> None:
    assert sweep_bins(CONFIDENCE, CORRECT) == 5
    assert sweep_calibration_error(CONFIDENCE, CORRECT) == pytest.approx(0.1875)
    assert sweep_bins([0.2, 0.8], [True, False]) == 1  # falls at once: one bin
    assert sweep_bins([0.2, 0.8], [False, True]) == 2


@pytest.mark.parametrize(("bandwidth", "value"), [(0.05, 0.2343), (0.1, 0.1503), (0.2, 0.1500), (None, 0.1500)])
def test_worked_smooth_errors(bandwidth: float | None, value: float) -> None:
    assert smooth_calibration_error(CONFIDENCE, CORRECT, bandwidth=bandwidth) == pytest.approx(value, abs=5e-4)


def by_integral(confidence: list[float], correct: list[bool], bandwidth: float) -> float:
    """Term by term: the kernel and its mirror images at every point of a grid."""
    t = (np.arange(20000) + 0.5) / 20000
    total = np.zeros_like(t)
    for p, right in zip(confidence, correct, strict=True):
        images = [2 * k + side * p for k in range(-4, 5) for side in (1, -1)]
        kernel = sum(np.exp(-(((t - at) / bandwidth) ** 2) / 2) for at in images)
        total += (right - p) * kernel / (bandwidth * np.sqrt(2 * np.pi))
    return float(np.abs(total / len(confidence)).mean())


@pytest.mark.parametrize("bandwidth", [0.02, 0.1, 0.7])
def test_the_smooth_error_is_its_integral(bandwidth: float) -> None:
    rng = np.random.default_rng(3)
    confidence, correct = [*rng.random(20), 0.0, 1.0], [*(rng.random(20) < 0.5), True, False]
    found = smooth_calibration_error(confidence, correct, bandwidth=bandwidth)
    assert found == pytest.approx(by_integral(confidence, correct, bandwidth), abs=3e-4)


@given(ROWS)
def test_the_bandwidth_that_is_found_is_the_error_at_it(rows: list[tuple[float, bool]]) -> None:
    confidence, correct = [c for c, _ in rows], [y for _, y in rows]
    error = smooth_calibration_error(confidence, correct)
    assert error is not None
    assert 0 <= error <= 1
    if error > 1e-3:
        assert smooth_calibration_error(confidence, correct, bandwidth=error) == pytest.approx(error, abs=1e-6)


def test_who_means_what_he_says_has_hardly_an_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20000)
    right = rng.random(20000) < p
    assert smooth_calibration_error(p, right) < 0.02  # type: ignore[operator]
    assert sweep_calibration_error(p, right) < 0.02  # type: ignore[operator]
    assert smooth_calibration_error(p**3, right) > 0.15  # type: ignore[operator]
    assert smooth_calibration_error([0.0, 1.0], [False, True]) == pytest.approx(0.0, abs=1e-9)


def test_the_diagram_has_the_bins_that_hold_something() -> None:
    bars = reliability_bins(CONFIDENCE, CORRECT, 5)
    assert [bar.count for bar in bars] == [2, 2, 2, 2]
    assert bars[0] == Bin(pytest.approx(0.35), 0.0, 2, pytest.approx(0.25))
    assert bars[-1] == Bin(pytest.approx(0.925), 1.0, 2, pytest.approx(0.25))
    assert reliability_bins([], [], 5) == ()
    assert sum(bar.count for bar in reliability_bins(CONFIDENCE, CORRECT, 3, equal_mass=True)) == 8
    assert [bar.count for bar in reliability_bins(CONFIDENCE, CORRECT, 3, equal_mass=True)] == [3, 3, 2]
    assert len(reliability_bins(CONFIDENCE, CORRECT, 100, equal_mass=True)) == 8


def test_a_value_on_the_edge_of_a_bin_falls_below_it_however_it_was_computed() -> None:
    assert expected_calibration_error([0.7, 0.1 * 7], [True, False], 10) == pytest.approx(0.2)


def test_a_constant_at_the_base_rate_has_no_error() -> None:
    for error in ERRORS:
        assert error([0.5] * 8, CORRECT) == pytest.approx(0.0, abs=1e-9)


@given(ROWS, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_data_has_no_effect(rows: list[tuple[float, bool]], shuffler: object, mass: bool) -> None:
    mixed = list(rows)
    shuffler.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = ([c for c, _ in r] for r in (rows, mixed))
    ours, theirs = ([y for _, y in r] for r in (rows, mixed))
    assert expected_calibration_error(one, ours, 4, equal_mass=mass) == pytest.approx(
        expected_calibration_error(other, theirs, 4, equal_mass=mass)
    )
    assert sweep_bins(one, ours) == sweep_bins(other, theirs)


@given(ROWS)
def test_an_error_lies_between_nought_and_one(rows: list[tuple[float, bool]]) -> None:
    for error in ERRORS:
        assert 0.0 <= error([c for c, _ in rows], [y for _, y in rows]) <= 1.0  # type: ignore[operator]


def test_what_matters_is_the_value_and_not_the_order_alone() -> None:
    squeezed = [c**3 for c in CONFIDENCE]
    for error in ERRORS:
        assert error(squeezed, CORRECT) != pytest.approx(error(CONFIDENCE, CORRECT), abs=1e-3)


@pytest.mark.parametrize("error", [expected_calibration_error, smooth_calibration_error])
def test_weights_stand_for_answers(error: object) -> None:
    assert callable(error)
    weights = [1, 3, 2, 1, 1, 2, 3, 1]
    often = [np.repeat(x, weights) for x in (CONFIDENCE, CORRECT)]
    assert error(CONFIDENCE, CORRECT, weights=weights) == pytest.approx(error(*often), abs=1e-9)


@pytest.mark.parametrize("error", ERRORS)
def test_what_is_no_data_is_refused(error: object) -> None:
    assert callable(error)
    assert error([], []) is None
    with pytest.raises(ValueError, match="as long as each other"):
        error([0.5], [True, False])
    with pytest.raises(ValueError, match="not a number"):
        error([0.5, float("nan")], [True, False])
    with pytest.raises(ValueError, match="no probability"):
        error([0.5, 3.0], [True, False])


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one bin"):
        expected_calibration_error(CONFIDENCE, CORRECT, 0)
    for bandwidth in (0.0, -1.0, 2.0):
        with pytest.raises(ValueError, match="bandwidth"):
            smooth_calibration_error(CONFIDENCE, CORRECT, bandwidth=bandwidth)
