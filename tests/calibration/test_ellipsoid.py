"""The joint check: distances by hand, missing readings left out exactly, and what is no covariance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.calibration.ellipsoid import Ellipsoid, deviations, distance_at, squared_distances

NONE = np.nan
COVARIANCE = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.0], [0.1, 0.0, 2.0]])
SHAPE = Ellipsoid(triangle=tuple(COVARIANCE[np.tril_indices(3)]), threshold=3.5)


def test_distances_by_hand() -> None:
    x = np.array([[1.0, NONE, NONE], [1.0, -1.0, NONE], [NONE, NONE, 2.0], [NONE, NONE, NONE]])
    # (1, -1) under ((1, .8), (.8, 1)): 2 / (1 - .8)
    assert squared_distances(COVARIANCE, x) == pytest.approx([1.0, 10.0, 2.0, 0.0])


def test_a_missing_reading_is_left_out_not_filled_in() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)) * 2.5
    x[rng.random(x.shape) < 0.3] = NONE
    degrees = (~np.isnan(x)).sum(1)
    alone = [
        0.0 if np.isnan(row).all() else row[g] @ np.linalg.inv(COVARIANCE[np.ix_(g, g)]) @ row[g]
        for row in x
        for g in [np.flatnonzero(~np.isnan(row))]
    ]
    assert squared_distances(COVARIANCE, x) == pytest.approx(alone)
    expected = deviations(np.array(alone), degrees) > SHAPE.threshold
    assert SHAPE.excludes(x).tolist() == expected.tolist()
    assert 10 < expected.sum() < 490


@pytest.mark.parametrize("degrees", [1, 5, 40])
def test_so_many_deviations_out_lie_as_many_as_under_a_normal_law(degrees: int) -> None:
    squared = np.random.default_rng(1).chisquare(degrees, 200_000)
    out = deviations(squared, np.full(len(squared), degrees))
    # 3 standard errors of a share of .0228 of 200,000 are .001; the cube root itself is off by less than .002
    assert (out > 2).mean() == pytest.approx(0.0228, abs=0.003)
    assert distance_at(2.0, np.array([degrees])) == pytest.approx(np.quantile(squared, 0.9772), rel=0.02)


def test_the_distance_is_the_inverse_of_the_deviation() -> None:
    degrees = np.array([1, 2, 30])
    assert deviations(distance_at(4.2, degrees), degrees) == pytest.approx([4.2] * 3)


@pytest.mark.parametrize(
    ("triangle", "threshold"),
    [((1.0, 2.0), 3.0), ((1.0, 2.0, 1.0), 3.0), ((1.0,), 0.0), ((float("nan"),), 3.0), ((0.0,), 3.0)],
)
def test_what_is_no_covariance_is_refused(triangle: tuple[float, ...], threshold: float) -> None:
    with pytest.raises(ValidationError):
        Ellipsoid(triangle=triangle, threshold=threshold)


@given(st.data())
def test_one_row_is_told_as_many_are(data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 5))
    numbers = st.floats(-4, 4)
    spread = np.array(data.draw(st.lists(st.lists(numbers, min_size=k, max_size=k), min_size=k, max_size=k)))
    covariance = spread @ spread.T + 0.5 * np.eye(k)
    held = Ellipsoid(triangle=tuple(covariance[np.tril_indices(k)]), threshold=data.draw(st.floats(0.1, 5)))
    row = data.draw(st.lists(st.none() | numbers, min_size=k, max_size=k))
    many = held.excludes(np.array([[np.nan if value is None else value for value in row]]))
    assert held.excludes_one(row) == many[0]
