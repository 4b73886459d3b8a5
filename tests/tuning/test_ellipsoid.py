"""The joint check flags almost nothing of what is like the fit, and much of what only looks so reading by reading."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gate.calibration.ellipsoid import Ellipsoid
from gate.tuning.ellipsoid import ellipsoid_of


def readings(n: int, seed: int, lost: float = 0.1) -> npt.NDArray[np.float64]:
    """Eight signals that go with each other, heavy-tailed, some missing."""
    rng = np.random.default_rng(seed)
    x = 0.85 * rng.standard_t(6, size=(n, 1)) + 0.5 * rng.normal(size=(n, 8))
    x[rng.random(x.shape) < lost] = np.nan
    return np.asarray(x)


def fitted(n: int, seed: int, lost: float = 0.1) -> Ellipsoid:
    made = ellipsoid_of(readings(n, seed, lost), np.arange(n) % 5)
    assert made is not None
    return made


@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_held_out_readings_are_hardly_ever_flagged(n: int) -> None:
    flagged = np.mean([fitted(n, seed).excludes(readings(20_000, 90 + seed)).mean() for seed in range(4)])
    assert flagged <= 0.002


def test_readings_exchanged_between_answers_are_flagged_often() -> None:
    rng, new = np.random.default_rng(0), readings(5000, 50, lost=0.0)
    exchanged = np.column_stack([rng.permutation(column) for column in new.T])
    assert fitted(1000, 0).excludes(exchanged).mean() > 0.12


def test_with_too_few_answers_or_too_many_signals_there_is_none() -> None:
    assert ellipsoid_of(readings(99, 0), np.arange(99) % 5) is None
    assert ellipsoid_of(np.zeros((200, 61)), np.arange(200) % 5) is None
    assert ellipsoid_of(np.empty((200, 0)), np.arange(200) % 5) is None


def test_signals_that_never_vary_or_never_are_there_do_no_harm() -> None:
    x = readings(200, 0)
    x[:, 0], x[:, 1] = 0.0, np.nan
    x[:, 3] = x[:, 2]  # twins
    made = ellipsoid_of(x, np.arange(200) % 5)
    assert made is not None
    assert made.excludes(x).mean() <= 0.01
    assert ellipsoid_of(np.full((200, 3), np.nan), np.arange(200) % 5) is not None
