"""Curves over log-odds: worked values, higher stays higher, and none that would fall."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.calibration.recalibration import Beta, Isotonic

KNOTS = Isotonic(knots=((-2.0, -1.0), (0.0, 0.5), (1.0, 3.0)))
CURVES = (KNOTS, Isotonic(knots=((0.3, -0.2),)), Beta(a=0.6, b=1.7, c=-0.4), Beta(a=0.5, b=0.2, c=1.0))
Z = st.floats(-40, 40)


def test_beta_calibration_as_it_is_written_for_p() -> None:
    p, curve = 0.8, Beta(a=0.6, b=1.7, c=-0.4)
    z = 0.6 * math.log(p) - 1.7 * math.log(1 - p) - 0.4
    assert curve.apply(math.log(p / (1 - p))) == pytest.approx(z)
    assert Beta(a=1, b=1, c=0).apply(0.7) == pytest.approx(0.7)


@pytest.mark.parametrize(("z", "made"), [(-2, -1), (-1, -0.25), (0, 0.5), (0.5, 1.75), (1, 3), (4, 6), (-5, -4)])
def test_lines_between_knots_and_a_shift_beyond_them(z: float, made: float) -> None:
    assert KNOTS.apply(z) == pytest.approx(made)


@pytest.mark.parametrize("curve", CURVES)
@given(one=Z, other=Z)
def test_higher_stays_higher(curve: Beta | Isotonic, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert curve.apply(low) <= curve.apply(high) + 1e-9
    if high - low > 1e-3 and abs(low) < 20 and abs(high) < 20:
        assert curve.apply(low) < curve.apply(high), "none tie that did not"


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("z", [-1e300, -800.0, 800.0, 1e300])
def test_no_log_odds_are_too_large(curve: Beta | Isotonic, z: float) -> None:
    assert math.isfinite(curve.apply(z))


@pytest.mark.parametrize(
    "knots", [(), ((0, 0), (0, 1)), ((0, 0), (1, 0)), ((1, 0), (0, 1)), ((0, math.nan),), ((0, 0), (math.inf, 1))]
)
def test_knots_that_do_not_rise_are_refused(knots: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValidationError):
        Isotonic(knots=knots)


def test_a_curve_that_would_be_flat_is_refused() -> None:
    with pytest.raises(ValidationError, match="both be 0"):
        Beta(a=0, b=0, c=1)
