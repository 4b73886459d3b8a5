"""How fast memory grows, and for how long to load."""

from __future__ import annotations

import pytest

from tests.benchmarks.proxy.memory import Grown, Sample, seconds_for, slope


def test_the_slope_is_that_of_the_second_half() -> None:
    rising = (Sample(10_000, 100.0), *(Sample(n * 50_000, 120.0 + n) for n in range(1, 20)))
    made = Grown(rising, 0, 0, 0)
    assert made.slope == pytest.approx(2.0)  # a megabyte for each 50,000
    assert made.growth == pytest.approx(39.0)
    assert made.told()["MB for 100,000 more"] == made.slope


def test_a_steady_one_has_none_and_one_look_tells_nothing() -> None:
    assert slope(tuple(Sample(n, 90.0) for n in (1, 2, 3))) == 0.0
    assert slope((Sample(10_000, 90.0),)) is None
    assert slope(()) is None


@pytest.mark.parametrize(
    ("requests", "rate", "seconds"), [(10_000, 0.0, 1), (10_000, 2500.0, 4), (10_001, 2500.0, 5), (10, 2500.0, 1)]
)
def test_whole_seconds(requests: int, rate: float, seconds: int) -> None:
    assert seconds_for(requests, rate) == seconds
