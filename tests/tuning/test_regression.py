"""The regression: worked by hand where that can be, and its slopes against differences."""

from __future__ import annotations

import numpy as np
import pytest

from gate.tuning.regression import Rows, log_losses, minimise


def rows(scaled: list[list[float]], correct: list[float], groups: list[int] | None = None, n_groups: int = 0) -> Rows:
    n = len(correct)
    return Rows(np.array(scaled), np.array(correct), np.ones(n), np.array(groups or [0] * n), n_groups)


def test_the_design_holds_intercept_groups_values_and_missing_flags() -> None:
    made = rows([[0.5, np.nan], [np.nan, -1.0]], [1, 0], [1, 0], 2).design()
    assert made.tolist() == [[1, 0, 1, 0.5, 0, 0, 1], [1, 1, 0, 0, -1, 1, 0]]


def test_without_signals_the_intercept_is_the_log_odds_of_the_labels() -> None:
    some = Rows(np.empty((4, 0)), np.array([1.0, 1, 1, 0]), np.array([1.0, 1, 2, 1]), np.zeros(4, dtype=np.intp))
    theta = minimise((some.design(), some.correct, some.weights), np.zeros(1), 0)
    assert theta == pytest.approx([np.log(4)], abs=1e-4)
    losses = log_losses(some.design() @ theta, some.correct)
    assert losses == pytest.approx(-np.log([0.8, 0.8, 0.8, 0.2]), abs=1e-4)


def test_targets_are_drawn_in_as_far_as_so_many_labels_warrant() -> None:
    some = rows([[0.0]] * 40, [1.0] * 30 + [0.0] * 10)
    design, targets, weights = some.with_knock_outs(np.random.default_rng(0))
    assert (targets.max(), targets.min()) == pytest.approx((31 / 32, 1 / 12))
    assert design.shape == (80, 3)
    assert weights.sum() == pytest.approx(40)
    lost = design[40:, 2]
    assert 2 <= lost.sum() <= 22, "about three in ten"
    assert design[:40, 2].sum() == 0


def test_a_dear_weight_stays_where_it_is_drawn_to() -> None:
    some = rows([[x] for x in (-1.0, 1.0) * 20], [0.0, 1.0] * 20)
    made = (some.design(), some.correct, some.weights)
    ridge, centre = np.array([0.0, 1e4, 1e4]), np.array([0.0, 0.7, -0.2])
    assert minimise(made, ridge, 1, centre) == pytest.approx([0.0, 0.7, -0.2], abs=1e-3)


def test_what_tells_less_costs_more_and_at_most_eleven_times_as_much() -> None:
    some = rows([[x, x * s, -x] for x, s in zip((-1.0, 1.0) * 20, (1, 1, -1, 1) * 10, strict=True)], [0.0, 1.0] * 20)
    assert some.reluctance() == pytest.approx([0, 1, 4, 1 / 0.09, 1, 1, 1])
