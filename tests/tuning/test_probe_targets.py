"""When an answer counts as certain and an entropy as high: worked values, and what must hold for any numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.probe_targets import (
    CERTAIN_SHARE,
    certain_errors,
    certainty_threshold,
    entropy_split,
    error_weights,
)

WORKED = np.array([0.9, 0.8, 0.85, 0.3]), np.array([True, True, False, False])


def cost(certainty: np.ndarray, correct: np.ndarray, t: float) -> float:
    return float((certainty[~correct] > t).mean() + (certainty[correct] < t).mean())


def test_of_several_thresholds_of_the_same_cost_the_lowest_is_taken() -> None:
    # one error of four for t in [.3, .8], and again in [.85, .9]
    assert [cost(*WORKED, t) for t in (0.3, 0.8, 0.82, 0.85)] == [0.5, 0.5, 1.0, 0.5]
    assert certainty_threshold(*WORKED) == 0.3
    assert certain_errors(*WORKED).tolist() == [False, False, True, False]


def test_the_threshold_is_that_of_balanced_samples() -> None:
    certainty, correct = WORKED
    many = np.r_[certainty, np.full(8, 0.8)], np.r_[correct, np.ones(8, dtype=bool)]
    assert certainty_threshold(*many) == 0.3
    # counted as they come, nine right answers below .85 would outweigh any error above .3; so do their shares here
    alone = np.r_[certainty, np.full(8, 0.25)], np.r_[correct, np.zeros(8, dtype=bool)]
    assert certainty_threshold(*alone) == 0.3


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30))
def test_no_threshold_costs_less(rows: list[tuple[int, bool]]) -> None:
    certainty, correct = np.array([c / 6 for c, _ in rows]), np.array([y for _, y in rows])
    if correct.all() or not correct.any():
        with pytest.raises(ValueError, match="right and wrong"):
            certainty_threshold(certainty, correct)
        return
    found = certainty_threshold(certainty, correct)
    assert found in certainty
    for t in np.linspace(-0.1, 1.1, 60):
        assert cost(certainty, correct, found) <= cost(certainty, correct, float(t)) + 1e-12


def test_certain_errors_are_oversampled_among_errors_that_weigh_what_they_did() -> None:
    certainty = np.r_[np.full(10, 0.9), 0.95, np.full(9, 0.1)]
    correct = np.r_[np.ones(10, dtype=bool), np.zeros(10, dtype=bool)]
    weights = error_weights(certainty, correct)
    assert weights[:10].tolist() == [1] * 10
    assert weights[10] == pytest.approx(CERTAIN_SHARE * 10)
    assert weights[11:] == pytest.approx(np.full(9, 0.35 * 10 / 9))


def test_errors_that_are_certain_often_enough_are_left_as_they_are() -> None:
    certainty = np.r_[np.full(10, 0.9), np.full(8, 0.95), 0.1, 0.2]
    correct = np.r_[np.ones(10, dtype=bool), np.zeros(10, dtype=bool)]
    assert error_weights(certainty, correct) == pytest.approx(np.ones(20))
    assert error_weights(np.full(20, 0.5), correct).tolist() == [1] * 20, "no error is certain"


def test_entropies_are_split_where_the_groups_differ_most() -> None:
    entropies = np.array([0.0, 0.1, 0.0, 2.0, 1.8])
    assert entropy_split(entropies) == 0.1
    assert entropy_split(np.full(3, 0.7)) == 0.7


@given(st.lists(st.integers(0, 8), min_size=2, max_size=25))
def test_no_split_has_less_squared_error_within_groups(values: list[int]) -> None:
    entropies = np.array(values) / 4

    def within(threshold: float) -> float:
        groups = entropies[entropies <= threshold], entropies[entropies > threshold]
        return float(sum(((group - group.mean()) ** 2).sum() for group in groups if len(group)))

    found = entropy_split(entropies)
    assert found in entropies
    assert within(found) <= min(within(t) for t in entropies) + 1e-9
    if entropies.min() < entropies.max():
        assert (entropies > found).any()
