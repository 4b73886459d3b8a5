"""Proper scores: worked values, and that the truth scores best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.proper_scores import brier, brier_skill, negative_log_likelihood

CONFIDENCE = [0.95, 0.90, 0.80, 0.70, 0.60, 0.55, 0.40, 0.30]
CORRECT = [True, True, False, True, True, False, False, False]
SCORES = (brier, brier_skill, negative_log_likelihood)


@pytest.mark.parametrize(
    ("score", "value"), [(brier, 0.181875), (negative_log_likelihood, 0.537450), (brier_skill, 0.2725)]
)
def test_worked_values(score: object, value: float) -> None:
    assert callable(score)
    assert score(CONFIDENCE, CORRECT) == pytest.approx(value, abs=1e-6)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_no_statement_scores_better_than_the_truth(truth: float, said: float) -> None:
    for score in (brier, negative_log_likelihood):
        honest, other = (score([p, p], [True, False], weights=[truth, 1 - truth]) for p in (truth, said))
        assert honest is not None
        assert other is not None
        assert honest <= other + 1e-12


def test_stating_the_base_rate_has_no_skill_and_certainty_all_of_it() -> None:
    assert brier_skill([0.5] * 8, CORRECT) == pytest.approx(0.0)
    assert brier_skill([float(y) for y in CORRECT], CORRECT) == 1.0
    assert brier_skill([float(not y) for y in CORRECT], CORRECT) == pytest.approx(-3.0)


def test_being_sure_and_wrong_is_dear_and_not_infinite() -> None:
    assert negative_log_likelihood([1.0], [False]) == pytest.approx(34.538776)  # -ln 1e-15


@pytest.mark.parametrize("score", SCORES)
def test_weights_stand_for_answers(score: object) -> None:
    assert callable(score)
    weights = [1, 3, 2, 1, 1, 2, 3, 1]
    often = [np.repeat(x, weights) for x in (CONFIDENCE, CORRECT)]
    assert score(CONFIDENCE, CORRECT, weights=weights) == pytest.approx(score(*often))


@pytest.mark.parametrize("score", SCORES)
def test_without_answers_there_is_no_score_and_without_probabilities_an_error(score: object) -> None:
    assert callable(score)
    assert score([], []) is None
    for bad in ([1.2], [-0.1], [float("nan")]):
        with pytest.raises(ValueError, match="confidence"):
            score(bad, [True])
    assert brier_skill([0.9, 0.8], [True, True]) is None
    assert brier_skill([0.9, 0.8], [False, False]) is None
