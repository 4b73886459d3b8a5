"""Metrics: worked values, and what must hold whatever the data."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.metrics import (
    auarc,
    auprc_error,
    auprc_success,
    aurc,
    auroc,
    excess_aurc,
    fpr_at_recall,
    prediction_rejection_ratio,
    risk_coverage,
)

CONFIDENCE = [0.95, 0.90, 0.80, 0.70, 0.60, 0.55, 0.40, 0.30]
CORRECT = [True, True, False, True, True, False, False, False]
CURVE = [0, 0, 1 / 3, 1 / 4, 1 / 5, 1 / 3, 3 / 7, 1 / 2]
RANKING = (
    auroc,
    auprc_error,
    auprc_success,
    aurc,
    excess_aurc,
    auarc,
    prediction_rejection_ratio,
    fpr_at_recall,
)
ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1
)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (auroc, 0.875),
        (auprc_error, 0.916667),
        (auprc_success, 0.8875),
        (aurc, 0.255655),
        (excess_aurc, 0.072917),
        (auarc, 0.744345),
        (partial(auarc, trapezoid=True), 0.743537),
        (prediction_rejection_ratio, 0.770169),
        (partial(prediction_rejection_ratio, max_rejection=0.5), 1.0),
        (fpr_at_recall, 0.25),
    ],
)
def test_worked_values(metric: object, value: float) -> None:
    assert callable(metric)
    assert metric(CONFIDENCE, CORRECT) == pytest.approx(value, abs=1e-5)


def test_the_curve_of_the_worked_example() -> None:
    assert risk_coverage(CONFIDENCE, CORRECT) == pytest.approx(CURVE)
    assert risk_coverage(CORRECT, CORRECT).mean() == pytest.approx(0.182738, abs=1e-6)  # the best there is


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_one_class_has_no_ranking(labels: list[bool]) -> None:
    confidence = [0.5] * len(labels)
    for metric in (auroc, auprc_error, auprc_success, prediction_rejection_ratio, fpr_at_recall):
        assert metric(confidence, labels) is None
    assert aurc(confidence, labels) == (None if not labels else float(not labels[0]))
    assert excess_aurc(confidence, labels) == (0.0 if labels else None)
    assert auarc(confidence, labels) == (float(labels[0]) if labels else None)
    assert auarc(confidence[:1], labels[:1], trapezoid=True) is None


def test_a_constant_ranks_as_chance_does() -> None:
    constant = [0.5] * 8
    assert auroc(constant, CORRECT) == pytest.approx(0.5)
    assert auprc_error(constant, CORRECT) == pytest.approx(0.5)
    assert aurc(constant, CORRECT) == pytest.approx(0.5)
    assert prediction_rejection_ratio(constant, CORRECT) == pytest.approx(0.0)
    assert fpr_at_recall(constant, CORRECT) == 1.0


@given(ROWS)
def test_a_curve_with_ties_is_the_mean_over_the_orders_they_could_have(rows: list[tuple[float, bool]]) -> None:
    rows = rows[:6]
    confidence, correct = [c for c, _ in rows], [y for _, y in rows]
    orders = [o for o in itertools.permutations(range(len(rows))) if _sorted([confidence[i] for i in o])]
    curves = [np.cumsum([not correct[i] for i in o]) / np.arange(1, len(rows) + 1) for o in orders]
    assert risk_coverage(confidence, correct) == pytest.approx(np.mean(curves, axis=0))


def _sorted(values: list[float]) -> bool:
    return values == sorted(values, reverse=True)


@given(ROWS)
def test_ranking_looks_at_the_order_alone(rows: list[tuple[float, bool]]) -> None:
    correct = [y for _, y in rows]
    ranks = {c: place for place, c in enumerate(sorted({c for c, _ in rows}))}
    for metric in RANKING:
        one, other = metric([c for c, _ in rows], correct), metric([float(ranks[c] ** 3) for c, _ in rows], correct)
        assert one == (None if other is None else pytest.approx(other))


@given(ROWS)
def test_a_perfect_order_is_as_good_as_it_gets_and_its_reverse_as_bad(rows: list[tuple[float, bool]]) -> None:
    correct = [y for _, y in rows]
    best, worst = [float(y) for y in correct], [float(not y) for y in correct]
    given_ = [c for c, _ in rows]
    if 0 < sum(correct) < len(correct):
        assert (auroc(best, correct), auprc_error(best, correct)) == (1.0, 1.0)
        assert auroc(worst, correct) == 0.0
        assert prediction_rejection_ratio(best, correct) == pytest.approx(1.0)
        assert auprc_success(best, correct) == pytest.approx(1.0)
        assert (fpr_at_recall(best, correct), fpr_at_recall(worst, correct)) == (0.0, 1.0)
    assert excess_aurc(best, correct) == pytest.approx(0.0)
    low, mid, high = (aurc(c, correct) for c in (best, given_, worst))
    assert low is not None
    assert mid is not None
    assert high is not None
    assert low - 1e-12 <= mid <= high + 1e-12


@given(ROWS, st.data())
def test_the_area_under_the_curve_of_pairs_counts_them(rows: list[tuple[float, bool]], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0.1, 10), min_size=len(rows), max_size=len(rows)))
    confidence, correct = [c for c, _ in rows], [y for _, y in rows]
    if not 0 < sum(correct) < len(correct):
        assert auroc(confidence, correct, weights=weights) is None
        return
    won, pairs = 0.0, 0.0
    each = list(zip(confidence, correct, weights, strict=True))
    for c, _, w in (row for row in each if row[1]):
        for d, _, v in (row for row in each if not row[1]):
            won, pairs = won + w * v * ((c > d) + (c == d) / 2), pairs + w * v
    assert auroc(confidence, correct, weights=weights) == pytest.approx(won / pairs)


def test_a_weight_of_three_is_as_good_as_saying_it_three_times() -> None:
    weights = [1, 3, 2, 1, 1, 2, 3, 1]
    often = [np.repeat(x, weights) for x in (CONFIDENCE, CORRECT)]
    assert auroc(CONFIDENCE, CORRECT, weights=weights) == pytest.approx(auroc(*often))


def test_graded_quality_is_ranked_as_labels_are() -> None:
    quality = [0.9, 1.0, 0.2, 0.7, 0.5, 0.4, 0.1, 0.0]
    ratio = prediction_rejection_ratio(CONFIDENCE, quality)
    assert ratio is not None
    assert 0.8 < ratio < 1.0
    stretched = prediction_rejection_ratio(CONFIDENCE, [0.3 + q / 2 for q in quality])
    assert stretched == pytest.approx(ratio)
    assert prediction_rejection_ratio(quality, quality) == pytest.approx(1.0)
    assert prediction_rejection_ratio(CONFIDENCE, [0.3] * 8) is None
    assert prediction_rejection_ratio(CONFIDENCE, quality, max_rejection=0.2) is None  # one step: all is kept
    for bad in ([1.5] * 8, [float("nan")] * 8):
        with pytest.raises(ValueError, match="quality not in"):
            prediction_rejection_ratio(CONFIDENCE, bad)
    with pytest.raises(ValueError, match="max_rejection"):
        prediction_rejection_ratio(CONFIDENCE, quality, max_rejection=0.0)


def test_the_false_positive_rate_is_that_at_the_asked_recall() -> None:
    assert fpr_at_recall(CONFIDENCE, CORRECT, 0.5) == 0.0
    assert fpr_at_recall(CONFIDENCE, CORRECT, 0.75) == 0.25
    hundred = [*range(100, 0, -1), 0.5, 1.5, 6.5]  # 95 of 100 right ones lie at 6 and above
    assert fpr_at_recall(hundred, [True] * 100 + [False] * 3) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="recall"):
        fpr_at_recall(CONFIDENCE, CORRECT, 0.0)


@pytest.mark.parametrize("metric", RANKING)
def test_what_is_no_data_is_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="as long as each other"):
        metric([0.5], [True, False])
    with pytest.raises(ValueError, match="not a number"):
        metric([0.5, float("nan")], [True, False])
