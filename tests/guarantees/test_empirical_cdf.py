"""The band round a distribution: its worked width, and that it holds the truth everywhere at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gate.guarantees.empirical_cdf import dkw_half_width


def test_worked_width() -> None:
    assert dkw_half_width(100, 0.05) == pytest.approx(0.13581, abs=1e-5)
    assert dkw_half_width(400, 0.05) == pytest.approx(0.13581 / 2, abs=1e-5)


def test_the_band_holds_the_whole_distribution_as_often_as_it_says() -> None:
    values = np.sort(np.random.default_rng(0).random((5000, 50)), axis=1)
    steps = np.arange(51) / 50
    furthest = np.maximum(np.abs(steps[1:] - values), np.abs(steps[:-1] - values)).max(1)
    missed = (furthest > dkw_half_width(50, 0.1)).mean()
    assert missed <= 0.1 + 3 * math.sqrt(0.09 / 5000)
    assert missed > 0.05  # and it is not much wider than it need be


def test_without_values_the_band_is_everything() -> None:
    assert dkw_half_width(0, 0.05) == 1.0
    assert dkw_half_width(1, 0.001) == 1.0
    for n, delta in ((-1, 0.05), (5, 0.0), (5, 1.0), (5, math.nan)):
        with pytest.raises(ValueError, match="need n >= 0"):
            dkw_half_width(n, delta)
