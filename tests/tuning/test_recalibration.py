"""Curves are learned where labels bend, and left alone where they do not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from gate.calibration.metrics import auroc, expected_calibration_error
from gate.calibration.probabilities import bend, sigmoid
from gate.calibration.recalibration import Beta, Isotonic
from gate.tuning.recalibration import beta_of, isotonic_of, recalibration_of

Array = npt.NDArray[np.float64]


def drawn(n: int, truth: Beta | Isotonic | None, seed: int) -> tuple[Array, Array, Array, npt.NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    z = rng.normal(0.5, 1.5, n)
    correct = (rng.random(n) < sigmoid(bend(truth, z))).astype(np.float64)
    return z, correct, np.ones(n), np.arange(n) % 5


TOO_SURE = Beta(a=0.3, b=0.6, c=0.4)
STEP = Isotonic(knots=((-3.0, -0.5), (0.5, -0.3), (1.0, 2.5), (3.0, 2.8)))


def test_beta_calibration_finds_the_curve_that_made_the_labels() -> None:
    made = beta_of(*drawn(40_000, TOO_SURE, 0)[:3])
    assert (made.a, made.b, made.c) == pytest.approx((0.3, 0.6, 0.4), abs=0.06)


def test_isotonic_knots_are_the_shares_seen_with_one_more_answer_each() -> None:
    z = np.array([-2.0, -2.0, 0.0, 1.0, 2.0])
    correct, weights = np.array([0.0, 1.0, 0.0, 1.0, 1.0]), np.ones(5)
    made = isotonic_of(z, correct, weights)
    # pools: .5 at -2 and 0 at 0 make 1/3 at -4/3; then 1 at 1 and at 2
    x, p = [-4 / 3, 1.5], [(1 + sigmoid(np.array(-4 / 3))) / 4, (2 + sigmoid(np.array(1.5))) / 3]
    assert [knot[0] for knot in made.knots] == pytest.approx(x)
    assert [float(sigmoid(np.array(knot[1]))) for knot in made.knots] == pytest.approx(p)


def test_isotonic_follows_a_step_that_no_beta_can() -> None:
    z, correct, weights, _ = drawn(40_000, STEP, 1)
    made = isotonic_of(z, correct, weights)
    at = np.array([-1.0, 0.0, 1.5])
    assert sigmoid(bend(made, at)) == pytest.approx(sigmoid(bend(STEP, at)), abs=0.03)
    assert len(made.knots) <= 200
    assert all(a < b for a, b in pairwise(made.knots))


@pytest.mark.parametrize("truth", [TOO_SURE, STEP], ids=["beta", "step"])
def test_what_bends_is_bent_and_ranks_as_before(truth: Beta | Isotonic) -> None:
    z, correct, weights, fold = drawn(3000, truth, 2)
    made = recalibration_of(z, correct, weights, fold)
    assert isinstance(made, type(truth))
    new, labels = drawn(20_000, truth, 3)[:2]
    before, after = (expected_calibration_error(sigmoid(bend(c, new)), labels > 0) for c in (None, made))
    assert after < 0.03 < before
    assert auroc(bend(made, new), labels > 0) == pytest.approx(auroc(new, labels > 0) or 0.0, abs=1e-9)


def test_what_is_straight_is_mostly_left_alone_and_never_spoiled() -> None:
    kept = [recalibration_of(*drawn(1500, None, seed)) for seed in range(20)]
    assert sum(one is None for one in kept) >= 14  # more than one standard error by chance: one in six, of two tries
    new, labels = drawn(20_000, None, 99)[:2]
    assert all(expected_calibration_error(sigmoid(bend(one, new)), labels > 0) < 0.035 for one in kept)


def test_a_heavy_row_counts_as_often_as_it_stands_for() -> None:
    z, correct, _, _ = drawn(300, TOO_SURE, 4)
    heavy = np.random.default_rng(0).integers(1, 4, 300)
    again = np.repeat(np.arange(300), heavy)
    once, repeated = (
        isotonic_of(z, correct, heavy.astype(np.float64)), isotonic_of(z[again], correct[again], np.ones(len(again)))
    )  # fmt: skip
    at = np.linspace(-2, 3, 9)
    assert bend(once, at) == pytest.approx(bend(repeated, at), abs=0.35)  # groups of like log-odds fall otherwise


def test_equal_log_odds_share_a_knot() -> None:
    made = isotonic_of(np.repeat([0.0, 1.0], 600), np.tile([0.0, 1.0, 1.0], 400), np.ones(1200))
    assert len(made.knots) == 1


def test_log_odds_beyond_any_doubt_make_finite_knots() -> None:
    z = np.linspace(-900, 900, 1001)
    made = isotonic_of(z, (z > 0).astype(np.float64), np.ones(1001))
    assert all(np.isfinite(knot).all() for knot in made.knots)
    assert np.isfinite(bend(made, z)).all()
