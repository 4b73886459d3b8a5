"""Promises on the mean: worked ranks and risks, both ends, and what they hold to in many worlds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gate.guarantees.conformal_risk import adjusted_risk, conformal_quantile, conformal_risk_control


def test_worked_quantiles() -> None:
    assert conformal_quantile([i / 20 for i in range(1, 20)], 0.1) == 0.9  # rank 18 of 19
    assert conformal_quantile([i / 20 for i in range(19, 0, -1)], 0.1) == 0.9
    assert conformal_quantile([0.5] * 8, 0.1) == math.inf  # rank 9 of 8
    assert conformal_quantile([], 0.1) == math.inf


def test_a_whole_rank_is_not_rounded_up_by_its_last_bit() -> None:
    assert math.ceil(50 * (1 - 0.44)) == 29
    assert conformal_quantile([float(i) for i in range(1, 50)], 0.44) == 28.0


def test_a_new_score_is_below_the_quantile_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    worlds = rng.exponential(size=(5000, 20))
    held = np.mean([row[19] <= conformal_quantile(row[:19].tolist(), 0.1) for row in worlds])
    assert held == pytest.approx(0.9, abs=3 * math.sqrt(0.09 / 5000))  # 18 of 20 places: exactly .9


def test_worked_adjusted_risks() -> None:
    assert adjusted_risk(0.04, 99) == pytest.approx(0.0496)
    risks = [0.0, 0.01, 0.03, 0.06]
    assert [adjusted_risk(risk, 99) for risk in risks] == pytest.approx([0.01, 0.0199, 0.0397, 0.0694])
    assert conformal_risk_control(risks, 99, 0.05) == 2
    assert conformal_risk_control([0.04], 99, 0.05) == 0


def test_both_ends_are_told_apart() -> None:
    risks = [0.0, 0.01, 0.03, 0.06]
    assert conformal_risk_control(risks, 99, 0.1) == 3  # none fails: the boldest
    assert conformal_risk_control(risks, 99, 0.01) == 0
    assert conformal_risk_control(risks, 99, 0.009) is None  # below 1 / (n + 1): impossible
    assert conformal_risk_control([0.2, 0.3], 99, 0.1) is None  # the safest fails already
    assert conformal_risk_control([], 99, 0.1) is None


def test_the_largest_loss_counts() -> None:
    assert conformal_risk_control([0.04], 99, 0.05, largest_loss=2.0) is None
    assert conformal_risk_control([0.03], 99, 0.05, largest_loss=2.0) == 0


def chosen(adjusted: bool, rng: np.random.Generator, n: int) -> np.ndarray:
    """Wrong answers per question asked, of what is chosen at .1 in each world; P(right | s) = .4 + .6 s."""
    grid = np.linspace(1.0, 0.0, 101)  # from the safest
    true = 0.6 * ((1 - grid) - (1 - grid**2) / 2)  # P(s >= t and wrong)
    found = []
    for _ in range(1500):
        scores = rng.random(n)
        wrong = rng.random(n) >= 0.4 + 0.6 * scores
        risks = ((scores[:, None] >= grid) & wrong[:, None]).mean(0)
        place = conformal_risk_control(risks.tolist(), n, 0.1) if adjusted else int(np.flatnonzero(risks <= 0.1)[-1])
        found.append(0.0 if place is None else true[place])
    return np.array(found)


def test_the_mean_over_worlds_keeps_the_promise_and_without_adjustment_it_does_not() -> None:
    n = 15
    kept, naive = (chosen(adjusted, np.random.default_rng(1), n) for adjusted in (True, False))
    assert kept.mean() <= 0.1 + 3 * kept.std() / math.sqrt(len(kept))
    assert naive.mean() > 0.1 + 3 * naive.std() / math.sqrt(len(naive))
    assert (kept > 0.1).mean() > 0.1  # a promise on the mean: single calibrations may be above


def test_what_is_not_monotone_or_no_risk_is_refused() -> None:
    with pytest.raises(ValueError, match="must not fall"):
        conformal_risk_control([0.03, 0.01], 99, 0.05)
    for risks, n in (([1.2], 9), ([-0.1], 9), ([math.nan], 9), ([0.1], 0)):
        with pytest.raises(ValueError, match="need n >= 1"):
            conformal_risk_control(risks, n, 0.5)
    for scores, alpha in (([0.5], 0.0), ([0.5], 1.0), ([math.nan], 0.1)):
        with pytest.raises(ValueError, match="alpha must be"):
            conformal_quantile(scores, alpha)
