"""Scales: what they tell apart, and that columns and single values come out alike."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gate.calibration.logistic import transformed
from gate.tuning.scales import Scale


@pytest.mark.parametrize(
    ("bounds", "values", "transform", "clip"),
    [
        ((0.0, 1.0), [0.0, 0.2, 0.4, 0.8, 1.0], "logit", 0.1),  # five votes: half a vote
        ((0.0, 1.0), [0.5, 1 - 1e-6, 1.0], "logit", 5e-7),
        ((0.0, 1.0), [0.5, 1 - 1e-9, 1.0], "logit", 1e-7),  # no further than that
        ((0.0, 1.0), [0.0, 1.0], "logit", 1e-4),  # nothing to tell from
        ((-math.inf, 0.0), [-3.0, -1e-5, 0.0], "negative_log", 5e-6),
        ((-1.0, 1.0), [0.1, 0.9], "identity", 1e-4),
        ((-math.inf, math.inf), [-5.0, 5.0], "identity", 1e-4),
    ],
)
def test_the_scale_tells_apart_what_the_values_do(
    bounds: tuple[float, float], values: list[float], transform: str, clip: float
) -> None:
    scale = Scale.of(bounds, np.array([*values, math.nan]))
    assert scale.transform == transform
    assert scale.clip == pytest.approx(clip, rel=0.05)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-math.inf, 0.0), (-1.0, 1.0)])
def test_a_column_is_brought_to_scale_as_each_value_of_it_is_in_service(bounds: tuple[float, float]) -> None:
    low, high = max(bounds[0], -9.0), bounds[1]
    column = np.linspace(low, high, 21)
    scale = Scale.of(bounds, column)
    assert scale.apply(column) == pytest.approx([transformed(scale.transform, scale.clip, x) for x in column])
    assert (np.diff(scale.apply(column)) >= 0).all(), "higher stays higher"
