"""Audits of unequal probability: the promise in many worlds, against what ignores the weights and against variance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.guarantees.learn_then_test import holm
from gate.guarantees.selective_risk import upper_bound
from gate.guarantees.weighted import weighted_p_value, weighted_risk, weighted_upper_bound

WORLDS, ANSWERED, DELTA = 2000, 1500, 0.1
RISK = 0.8 * 0.02 + 0.2 * 0.3
"""Four in five answers look fine and are wrong in 2 %, the rest looks doubtful and is wrong in 30 %."""
FINE, DOUBTFUL = (0.1, 0.5), (0.5, 0.1)
"""The probabilities of being audited of (fine, doubtful): more of what looks doubtful, or the other way round."""
AUDITS = st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.25, 0.5, 1.0])), max_size=40)


def audits(chances: tuple[float, float], seed: int, worlds: int = WORLDS) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and probabilities of the audited answers of each world."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(worlds):
        doubtful = rng.random(ANSWERED) < 0.2
        wrong = rng.random(ANSWERED) < np.where(doubtful, 0.3, 0.02)
        chance = np.where(doubtful, chances[1], chances[0])
        seen = rng.random(ANSWERED) < chance
        found.append((wrong[seen], chance[seen]))
    return found


@pytest.mark.parametrize("chances", [FINE, DOUBTFUL], ids=["doubtful more often", "fine more often"])
def test_the_bound_is_below_the_risk_as_seldom_as_promised(chances: tuple[float, float]) -> None:
    """The bound is below the risk just when the p-value at the risk is below delta."""
    p = [weighted_p_value(*row, RISK, 0.1) for row in audits(chances, 0)]
    assert np.mean([x <= DELTA for x in p]) <= DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / WORLDS)
    for row, x in zip(audits(chances, 0, 30), p, strict=False):
        assert (weighted_upper_bound(*row, DELTA, 0.1) < RISK) == (x < DELTA)


def test_without_weights_the_promise_is_broken() -> None:
    """When fine answers are audited more often, those that were audited look better than what was answered."""
    rows = audits(DOUBTFUL, 1, 300)
    assert np.mean([upper_bound(int(wrong.sum()), len(wrong), DELTA) < RISK for wrong, _ in rows]) > 0.9


def test_the_estimate_is_that_of_the_whole() -> None:
    for chances in (FINE, DOUBTFUL):
        rows = audits(chances, 2, 300)
        assert np.mean([weighted_risk(*row) for row in rows]) == pytest.approx(RISK, abs=0.003)
    assert weighted_risk([True, False], [0.5, 0.25]) == pytest.approx(2 / 6)
    assert weighted_risk([], []) is None


def test_it_certifies_with_a_usual_number_of_audits() -> None:
    bounds = [weighted_upper_bound(*row, DELTA, 0.1) for row in audits(FINE, 3, 40)]
    assert RISK < np.mean(bounds) < RISK + 0.05


def by_variance(wrong: np.ndarray, chance: np.ndarray, answered: int, least: float) -> float:
    """The bound of Maurer and Pontil on the mean of w wrong, answers that were not audited counting 0."""
    values = np.concatenate([wrong / chance, np.zeros(answered - len(wrong))]) * least
    log = math.log(2 / DELTA)
    width = math.sqrt(2 * values.var(ddof=1) * log / answered) + 7 * log / (3 * (answered - 1))
    return float((values.mean() + width) / least)


def test_it_is_narrower_than_the_bound_by_variance_where_errors_are_few() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        chance = np.where(rng.random(1500) < 0.2, 0.5, 0.1)
        seen, wrong = rng.random(1500) < chance, rng.random(1500) < 0.01
        ours = weighted_upper_bound(wrong[seen], chance[seen], DELTA, 0.1)
        assert ours < by_variance(wrong[seen], chance[seen], 1500, 0.1)


def test_audited_alike_it_is_a_little_wider_than_the_exact_bound() -> None:
    for errors, n in ((0, 100), (3, 100), (10, 300), (30, 1000)):
        wrong = [True] * errors + [False] * (n - errors)
        exact, ours = upper_bound(errors, n, 0.05), weighted_upper_bound(wrong, [1.0] * n, 0.05, 1.0)
        assert exact < ours < 1.6 * exact
        # one probability for all says nothing of the answers, whatever it is
        assert weighted_upper_bound(wrong, [0.2] * n, 0.05, 0.2) == pytest.approx(ours)


@given(AUDITS, st.floats(0.01, 0.5))
def test_the_bound_is_where_the_p_value_is_delta(rows: list[tuple[bool, float]], delta: float) -> None:
    wrong, chance = [w for w, _ in rows], [q for _, q in rows]
    bound = weighted_upper_bound(wrong, chance, delta, 0.1)
    assert 0 < bound <= 1
    if bound < 1 - 1e-6:
        assert weighted_p_value(wrong, chance, bound, 0.1) == pytest.approx(delta, rel=1e-3)
    assert weighted_upper_bound(wrong[::-1], chance[::-1], delta, 0.1) == pytest.approx(bound)
    assert weighted_upper_bound([*wrong, True], [*chance, 1.0], delta, 0.1) >= bound - 1e-6
    assert weighted_upper_bound([*wrong, False], [*chance, 1.0], delta, 0.1) <= bound + 1e-6


def test_its_p_values_go_into_the_procedures_for_many_settings() -> None:
    right = [False] * 400
    p = [weighted_p_value(right[:n], [0.5] * n, 0.05, 0.5) for n in (0, 50, 400)]
    assert p[0] == 1.0
    assert holm(p, 0.05) == (False, False, True)


def test_impossible_audits_are_refused() -> None:
    for wrong, chance, least in (
        ([True], [0.05], 0.1),
        ([True], [1.5], 0.1),
        ([True], [0.0], 0.1),
        ([True], [math.nan], 0.1),
        ([True], [0.5, 0.5], 0.1),
        ([True], [0.5], 0.0),
        ([True], [0.5], 2.0),
    ):
        with pytest.raises(ValueError, match="probability"):
            weighted_upper_bound(wrong, chance, 0.1, least)
    with pytest.raises(ValueError, match="probability"):
        weighted_risk([True], [0.0])
    with pytest.raises(ValueError, match="each label true or false"):
        weighted_risk([True, None], [0.5, 0.5])  # type: ignore[list-item]
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="delta must"):
            weighted_upper_bound([True], [0.5], bad, 0.1)
        with pytest.raises(ValueError, match="alpha must"):
            weighted_p_value([True], [0.5], bad, 0.1)
