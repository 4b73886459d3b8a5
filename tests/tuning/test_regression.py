"""The regression: worked by hand where that can be, and its slopes against differences."""

from __future__ import annotations

import numpy as np
import pytest

from gate.tuning.regression import Rows, held_out_loss, minimise


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
    assert held_out_loss(some, theta) == pytest.approx(-4 * np.log(0.8) - np.log(0.2), abs=1e-4)


def test_a_dear_weight_stays_where_it_is_drawn_to() -> None:
    some = rows([[x] for x in (-1.0, 1.0) * 20], [0.0, 1.0] * 20)
    made = (some.design(), some.correct, some.weights)
    ridge, centre = np.array([0.0, 1e4, 1e4]), np.array([0.0, 0.7, -0.2])
    assert minimise(made, ridge, 1, centre) == pytest.approx([0.0, 0.7, -0.2], abs=1e-3)


def test_what_tells_less_costs_more_and_at_most_eleven_times_as_much() -> None:
    some = rows([[x, x * s, -x] for x, s in zip((-1.0, 1.0) * 20, (1, 1, -1, 1) * 10, strict=True)], [0.0, 1.0] * 20)
    assert some.reluctance() == pytest.approx([0, 1, 4, 1 / 0.09, 1, 1, 1])
