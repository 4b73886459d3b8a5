"""Is a difference more than chance: how often the intervals hold the truth, and what clusters do to them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gate.calibration.metrics import auroc
from gate.calibration.proper_scores import brier
from gate.calibration.significance import bootstrap_mean, bootstrap_metric, mcnemar, paired_bootstrap


def accuracy(confidence: object, correct: np.ndarray) -> float:
    return float(correct.mean())


def test_the_interval_of_a_mean_holds_it_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for world in range(400):
        found = bootstrap_mean((rng.random(120) < 0.3).astype(float), resamples=400, seed=world)
        assert found is not None
        held += found.low <= 0.3 <= found.high
    assert abs(held / 400 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 400) + 0.01  # percentiles of 400 are a little coarse


def test_answers_that_go_together_make_the_interval_wider() -> None:
    """Ten copies of each question are no more than one, and clusters see that."""
    rng = np.random.default_rng(2)
    once = (rng.random(60) < 0.4).astype(float)
    tenfold, question = np.repeat(once, 10), np.repeat(np.arange(60), 10)
    alone, together, blind = bootstrap_mean(once), bootstrap_mean(tenfold, question), bootstrap_mean(tenfold)
    assert alone is not None
    assert together is not None
    assert blind is not None
    assert (together.value, together.low, together.high) == (alone.value, alone.low, alone.high)
    assert together.clusters == 60
    assert together.high - together.low > 2.5 * (blind.high - blind.low)


def test_clusters_may_be_of_any_name_and_order() -> None:
    values, names = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0], ["b", "a", "b", "c", "a", "c"]
    one, other = bootstrap_mean(values, names), bootstrap_mean(values, [1, 0, 1, 2, 0, 2])
    assert one == other
    assert one == bootstrap_mean(values, [("set", name) for name in names])
    assert one is not None
    assert one.clusters == 3


def test_one_resampling_serves_means_and_metrics() -> None:
    rng = np.random.default_rng(3)
    confidence, question = rng.random(90), np.repeat(np.arange(30), 3)
    right = rng.random(90) < confidence
    by_metric = bootstrap_metric(brier, confidence, right, question, resamples=300)
    by_mean = bootstrap_mean((confidence - right) ** 2, question, resamples=300)
    assert by_metric is not None
    assert by_mean is not None
    assert (by_metric.low, by_metric.high) == pytest.approx((by_mean.low, by_mean.high))
    assert bootstrap_metric(brier, confidence, right, question, resamples=300) == by_metric  # the seed is fixed


def test_pairing_finds_what_two_intervals_apart_would_not() -> None:
    rng = np.random.default_rng(4)
    strength = rng.normal(size=300)
    right = rng.random(300) < 1 / (1 + np.exp(-strength))
    better = strength + rng.normal(0, 0.2, 300)
    worse = better + rng.normal(0, 0.5, 300)
    found = paired_bootstrap(auroc, better, worse, right, resamples=500)
    alone = [bootstrap_metric(auroc, signal, right, resamples=500) for signal in (better, worse)]
    assert found is not None
    assert found.value > 0
    assert all(interval is not None for interval in alone)
    assert found.high - found.low < 0.7 * min(i.high - i.low for i in alone if i is not None)
    same = paired_bootstrap(auroc, better, better, right, resamples=50)
    assert same is not None
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_when_nothing_differs_a_difference_is_found_no_oftener_than_promised() -> None:
    rng = np.random.default_rng(5)
    found = 0
    for world in range(120):
        right = rng.random(80) < 0.6
        one, other = (right + rng.normal(0, 1, 80) for _ in range(2))
        interval = paired_bootstrap(auroc, one, other, right, resamples=150, seed=world)
        assert interval is not None
        found += not interval.low <= 0 <= interval.high
    assert found / 120 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 120) + 0.01


def test_two_policies_may_give_different_answers() -> None:
    one, other = [True] * 30 + [False] * 10, [True] * 20 + [False] * 20
    found = paired_bootstrap(accuracy, [0.5] * 40, [0.5] * 40, one, other_correct=other)
    assert found is not None
    assert found.value == 0.25
    assert found.low > 0


def test_where_nothing_can_be_said_there_is_no_interval() -> None:
    assert bootstrap_mean([]) is None
    assert bootstrap_mean([1.0]) is None
    assert bootstrap_mean([1.0, 0.0], ["same", "same"]) is None
    assert bootstrap_metric(auroc, [0.1, 0.2], [True, True]) is None  # one class
    assert bootstrap_metric(auroc, [0.1, 0.2], [True, False]) is None  # half of the resamples have one class
    assert paired_bootstrap(auroc, [0.1, 0.2], [0.2, 0.1], [True, True]) is None


def test_resamples_that_are_undefined_are_counted() -> None:
    found = bootstrap_metric(auroc, [0.1, 0.2, 0.3, 0.4, 0.5], [True, False, False, False, False], resamples=500)
    assert found is not None
    assert 300 < found.resamples < 360  # the only right one is in 67 % of them


def test_impossible_data_are_refused() -> None:
    with pytest.raises(ValueError, match="one cluster for each"):
        bootstrap_mean([1.0, 0.0], ["a"])
    with pytest.raises(ValueError, match="finite"):
        bootstrap_mean([1.0, float("nan")])
    with pytest.raises(ValueError, match="same answers"):
        paired_bootstrap(auroc, [0.1, 0.2], [0.1], [True, False], other_correct=[True])
    for level, resamples in ((1.0, 100), (0.0, 100), (0.95, 0)):
        with pytest.raises(ValueError, match="level"):
            bootstrap_mean([1.0, 0.0], level=level, resamples=resamples)


@pytest.mark.parametrize(
    ("one_only", "other_only", "p"),
    [(0, 0, 1.0), (5, 0, 0.0625), (0, 5, 0.0625), (3, 3, 1.0), (1, 8, 0.0390625), (10, 2, 0.0385742)],
)
def test_mcnemar_is_a_fair_coin(one_only: int, other_only: int, p: float) -> None:
    one = [True] * one_only + [False] * other_only + [True, False] * 7
    other = [False] * one_only + [True] * other_only + [True, False] * 7
    found = mcnemar(one, other)
    assert (found.one_only, found.other_only) == (one_only, other_only)
    assert found.p == pytest.approx(p, abs=1e-7)


def test_mcnemar_takes_many_questions_and_no_odd_ones() -> None:
    one = np.arange(20000) % 2 == 0
    assert mcnemar(one, ~one).p == 1.0
    with pytest.raises(ValueError, match="a label for each"):
        mcnemar([True], [True, False])
