"""Scales: what they tell apart, and that columns and single values come out alike."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gate.calibration.logistic import transformed
from gate.tuning.scales import Scale, Standard


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


def test_a_standard_holds_means_deviations_and_ranges_of_what_was_there() -> None:
    values = np.array([[1.0, 5.0, math.nan], [3.0, 5.0, math.nan], [math.nan, 5.0, math.nan]])
    standard = Standard.of(values, [(-9.0, 9.0)] * 3)
    assert standard.mean.tolist() == [2.0, 5.0, 0.0]
    assert standard.deviation.tolist() == [1.0, 1.0, 1.0], "1 for what never varied or never was"
    assert (standard.low.tolist(), standard.high.tolist()) == ([1.0, 5.0, 0.0], [3.0, 5.0, 0.0])
    assert standard.apply(values)[0, :2].tolist() == [-1.0, 0.0]


def test_rows_of_their_own_keep_the_scales_move_the_means_and_widen_the_range() -> None:
    shared = Standard.of(np.array([[0.0, 7.0], [4.0, 9.0]]), [(-9.0, 9.0)] * 2)
    own = shared.centred_on(np.array([[3.0, math.nan], [6.0, math.nan]]))
    assert own.deviation.tolist() == shared.deviation.tolist()
    assert own.mean.tolist() == [4.5, 8.0]
    assert (own.low.tolist(), own.high.tolist()) == ([0.0, 7.0], [6.0, 9.0])
