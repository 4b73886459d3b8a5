"""The volume of vectors, by hand and by its laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.volume import compactness, log_volume

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
SIXTY = (0.5, math.sqrt(0.75))
PLACES = st.integers(2, 9).flatmap(
    lambda m: st.lists(st.tuples(*[st.floats(-1, 1, width=16)] * 4).filter(any), min_size=m, max_size=m)
)


@pytest.mark.parametrize(
    ("vectors", "eps", "volume"),
    [
        ((EAST, SIXTY), 0.0, -0.28768),
        ((EAST, NORTH), 0.0, 0.0),
        ((EAST, EAST, SIXTY), 1e-3, -6.50029),
        (((3.0, 0.0), (0.0, 0.2)), 0.0, 0.0),
        ((EAST,), 0.0, 0.0),
        ((), 1e-3, 0.0),
    ],
)
def test_the_volume_of_vectors_brought_to_unit_length(
    vectors: tuple[tuple[float, float], ...], eps: float, volume: float
) -> None:
    assert log_volume(vectors, eps=eps, centred=False) == pytest.approx(volume, abs=1e-5)


def test_dependent_vectors_have_no_volume_without_eps() -> None:
    assert log_volume((EAST, NORTH, SIXTY), eps=0.0, centred=False) < -30.0
    assert log_volume((EAST, EAST), eps=0.0, centred=False) == -math.inf


def test_centred_two_vectors_point_away_from_each_other_whatever_they_are() -> None:
    expected = math.log((2 + 1e-3) * 1e-3)
    assert log_volume((EAST, SIXTY), eps=1e-3, centred=True) == pytest.approx(expected)
    assert log_volume((EAST, EAST), eps=1e-3, centred=True) == pytest.approx(2 * math.log(1e-3))


def test_compactness_is_turned_and_scaled() -> None:
    assert compactness((EAST, NORTH), eps=1e-3, centred=False) == pytest.approx(0.0)
    alike = compactness((EAST,) * 20, eps=1e-3, centred=False)
    apart = compactness((EAST, SIXTY), eps=1e-3, centred=False)
    assert alike is not None
    assert apart is not None
    assert 0.9 < alike < 1.0
    assert apart == pytest.approx((math.log1p(1e-3) - math.log(1.001**2 - 0.25) / 2) / math.log(1.001 / 1e-3))


@pytest.mark.parametrize("vectors", [(), (EAST,), ((0.0, 0.0), EAST), (EAST, (math.nan, 1.0)), (EAST, (math.inf, 0.0))])
def test_compactness_needs_two_vectors_that_say_something(vectors: tuple[tuple[float, float], ...]) -> None:
    assert compactness(vectors, eps=1e-3, centred=False) is None


@given(vectors=PLACES, order=st.randoms(use_true_random=False))
def test_the_order_changes_nothing_and_the_volume_lies_within_its_bounds(vectors, order) -> None:  # type: ignore[no-untyped-def]
    m, eps = len(vectors), 1e-3
    volume = log_volume(vectors, eps=eps, centred=False)
    assert m * math.log(eps) - 1e-9 <= volume <= m * math.log1p(eps) + 1e-9
    moved = list(vectors)
    order.shuffle(moved)
    assert log_volume(moved, eps=eps, centred=False) == pytest.approx(volume, abs=1e-6)
    value = compactness(vectors, eps=eps, centred=False)
    assert value is not None
    assert 0.0 <= value <= 1.0


@given(vectors=PLACES)
def test_the_small_matrix_has_the_determinant_of_the_large_one(vectors: list[tuple[float, ...]]) -> None:
    """det(V V^T + eps I_m) = eps^(m-d) det(V^T V + eps I_d)."""
    rows = np.asarray(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    m, d = rows.shape
    large = np.linalg.slogdet(rows.T @ rows + 1e-2 * np.eye(d))[1] + (m - d) * math.log(1e-2)
    assert log_volume(vectors, eps=1e-2, centred=False) == pytest.approx(float(large), abs=1e-6)
