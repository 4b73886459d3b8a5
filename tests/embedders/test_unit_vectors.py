"""Whatever a model gives as vectors: unit vectors, or one error that says what was wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.embedders.unit_vectors import unit_rows, unit_vectors
from gate.errors import UpstreamError


def test_vectors_keep_their_direction_and_lose_their_length() -> None:
    assert unit_vectors("mine", [[3, 4], [0.0, -2.0]]) == (pytest.approx((0.6, 0.8)), (0.0, -1.0))
    assert unit_vectors("mine", []) == ()


@pytest.mark.parametrize("row", [[1e308, 1e308], [1e-308, 1e-308], [5e-324, 5e-324]])
def test_huge_and_tiny_numbers_have_a_direction_too(row: list[float]) -> None:
    assert unit_vectors("mine", [row])[0] == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([[1.0, 2.0], [1.0]], "unequal lengths: 1 and 2"),
        ([[1.0], [0.0]], "zeros alone"),
        ([[1.0, math.nan]], "NaN or infinity"),
        ([[1.0, math.inf]], "NaN or infinity"),
        ([[1.0, None]], "no list of numbers"),
        ([[1.0, "2"]], "no list of numbers"),
        ([[True, False]], "no list of numbers"),
        ([[]], "no list of numbers"),
        (["AACAPwAAAEA="], "no list of numbers"),
        ([None], "no list of numbers"),
        ([[[1.0]]], "no list of numbers"),
        ([[10**400]], "beyond range"),
    ],
)
def test_what_is_no_vector_is_an_error_that_says_what_it_is(rows: list[Any], cause: str) -> None:
    with pytest.raises(UpstreamError, match=cause) as caught:
        unit_vectors("mine", rows)
    assert caught.value.upstream == "mine"
    assert not caught.value.retryable


@given(
    st.integers(1, 6).flatmap(
        lambda size: st.lists(
            st.lists(st.floats(-1e300, 1e300), min_size=size, max_size=size).filter(any), min_size=1, max_size=5
        )
    )
)
def test_every_vector_has_unit_length_and_the_signs_it_had(rows: list[list[float]]) -> None:
    made = np.array(unit_vectors("mine", rows))
    assert np.linalg.norm(made, axis=1) == pytest.approx(np.ones(len(rows)))
    assert (made * np.sign(rows) >= 0).all()
    assert unit_rows("mine", made) == pytest.approx(made)
