"""Shares and their intervals: worked values, equal weights that change nothing, and coverage that was simulated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.estimates import UNKNOWN, bound, mean, quantile, share


def counted(of: int, n: int) -> np.ndarray:
    return np.arange(n) < of


@pytest.mark.parametrize(
    ("errors", "n", "low", "high", "upper"),
    [  # roots of the binomial tails, found by bisection
        (1, 5, 0.005051, 0.716418, 0.657408),
        (0, 10, 0.0, 0.308497, 0.258866),
        (10, 10, 0.691503, 1.0, 1.0),
        (42, 1095, 0.027781, 0.051495, 0.049330),
    ],
)
def test_worked_intervals(errors: int, n: int, low: float, high: float, upper: float) -> None:
    found = share(counted(errors, n), np.ones(n), 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((errors / n, low, high), abs=1e-5)
    assert found.n == n
    assert bound(counted(errors, n), np.ones(n), 0.95) == pytest.approx(upper, abs=1e-5)


def test_nothing_has_no_share() -> None:
    none = np.zeros(0)
    assert share(none > 0, none, 0.95) == UNKNOWN
    assert bound(none > 0, none, 0.95) is None
    assert share(counted(1, 2), np.zeros(2), 0.95) == UNKNOWN
    assert mean(np.array([np.nan]), np.ones(1)) is None
    assert quantile(np.array([np.nan]), np.ones(1), 0.5) is None


@given(st.integers(1, 200), st.data(), st.floats(0.01, 100))
def test_weights_that_are_all_the_same_change_nothing(n: int, data: st.DataObject, factor: float) -> None:
    right = counted(data.draw(st.integers(0, n)), n)
    plain, scaled = share(right, np.ones(n), 0.9), share(right, np.full(n, factor), 0.9)
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx((plain.value, plain.low, plain.high))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 10)), min_size=1, max_size=50))
def test_an_interval_holds_its_value_whatever_the_weights(rows: list[tuple[bool, float]]) -> None:
    held, weights = np.array([r for r, _ in rows]), np.array([w for _, w in rows])
    found, upper = share(held, weights, 0.95), bound(held, weights, 0.95)
    if weights.sum() == 0:
        assert found == UNKNOWN
        return
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert upper is not None
    assert 0 <= found.low <= found.value <= upper <= found.high + 1e-9 <= 1 + 1e-9


def test_only_the_ratios_of_weights_matter() -> None:
    held, weights = counted(2, 5), np.array([1.0, 2, 3, 4, 5])
    plain, tiny, huge = (share(held, factor * weights, 0.95) for factor in (1, 1e-190, 1e190))
    assert (plain.low, plain.high) == pytest.approx((tiny.low, tiny.high))
    assert (plain.low, plain.high) == pytest.approx((huge.low, huge.high))


def test_a_weight_of_two_is_the_same_share_as_two_rows_but_no_surer() -> None:
    right = np.array([True, False, False, True, False, True, True, True])
    weights = np.array([2.0, 1, 1, 1, 2, 1, 1, 1])
    weighted, repeated = share(right, weights, 0.95), share(np.repeat(right, weights.astype(int)), np.ones(10), 0.95)
    assert weighted.value == pytest.approx(repeated.value)
    assert weighted.low is not None
    assert repeated.low is not None
    assert weighted.low < repeated.low


def test_the_bound_of_a_weighted_share_is_broken_no_more_often_than_promised() -> None:
    """Doubtful answers are labelled five times as often as sure ones, and weighted back; 3 standard errors of slack."""
    rng = np.random.default_rng(5)
    runs, broken = 1500, 0
    for _ in range(runs):
        doubtful = rng.random(3000) < 0.3
        kept = rng.random(3000) < np.where(doubtful, 0.25, 0.05)
        wrong = rng.random(3000) < np.where(doubtful, 0.15, 0.02)
        upper = bound(wrong[kept], np.where(doubtful[kept], 4.0, 20.0), 0.9)
        assert upper is not None
        broken += upper < 0.3 * 0.15 + 0.7 * 0.02
    assert broken / runs <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / runs)
    assert broken > 0  # a bound that is never broken is so wide that it says nothing


def test_quantiles_are_values_that_were_seen() -> None:
    values, even = np.array([4.0, 1, 3, 2, np.nan]), np.ones(5)
    assert [quantile(values, even, q) for q in (0.25, 0.5, 0.95, 1.0)] == [1, 2, 4, 4]
    assert quantile(values, np.array([0.0, 1, 1, 8, 1]), 0.5) == 2
    assert quantile(values, np.array([0.0, 1, 1, 1, 1]), 1.0) == 3


def test_a_mean_is_of_what_is_known() -> None:
    assert mean(np.array([1.0, np.nan, 4.0]), np.array([2.0, 100.0, 1.0])) == pytest.approx(2.0)
