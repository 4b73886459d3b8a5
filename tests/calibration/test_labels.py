"""Confident learning: worked numbers, labels flipped on purpose, and what it does with next to nothing."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.labels import (
    calibrated_joint,
    confident_joint,
    criteria_score,
    suspects,
    thresholds,
)

P = np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.2, 0.1, 0.4])
LABELS = np.array([1, 1, 1, 1, 0, 0, 0, 0], dtype=bool)
By = Literal["noise_rate", "self_confidence"]


def test_worked_thresholds_joint_and_suspects() -> None:
    assert thresholds(P, LABELS) == pytest.approx((0.65, 0.65))
    assert confident_joint(P, LABELS).tolist() == [[2, 1], [1, 2]]
    assert calibrated_joint(P, LABELS) == pytest.approx(np.array([[1 / 3, 1 / 6], [1 / 6, 1 / 3]]))
    found = suspects(P, LABELS)
    assert found.indices.tolist() == [3, 4]
    assert found.score == pytest.approx([0.3, 0.3])


def test_each_label_gives_up_as_many_as_its_noise_or_the_least_likely_ones_of_both_go() -> None:
    p = np.array([0.95, 0.9, 0.9, 0.2, 0.1, 0.15, 0.1, 0.1, 0.1, 0.88])
    labels = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0], dtype=bool)
    # t1 = .533, t0 = .705: of the six labelled right three look wrong, of the four labelled wrong one looks right
    assert confident_joint(p, labels).tolist() == [[3, 1], [3, 3]]
    assert suspects(p, labels).indices.tolist() == [4, 9, 5, 3]
    assert suspects(p, labels, by="self_confidence").indices.tolist() == [4, 9, 5, 3]
    skewed = np.array([0.95, 0.9, 0.9, 0.2, 0.6, 0.15, 0.1, 0.1, 0.1, 0.56])
    assert confident_joint(skewed, labels).tolist() == [[3, 0], [2, 3]]
    assert suspects(skewed, labels).indices.tolist() == [5, 3]
    everyone = suspects(np.array([0.9, 0.9, 0.3, 0.45, 0.4, 0.4]), np.array([1, 1, 1, 0, 0, 0], dtype=bool))
    assert everyone.indices.tolist() == [2]


@pytest.mark.parametrize("by", ["noise_rate", "self_confidence"])
def test_labels_flipped_on_purpose_are_found(by: By) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(2000) < 0.6
    p = np.clip(np.where(truth, 0.85, 0.15) + rng.normal(0, 0.1, 2000), 0.01, 0.99)
    flipped = rng.random(2000) < 0.06
    found = suspects(p, truth ^ flipped, by=by)
    assert len(found.indices) == pytest.approx(flipped.sum(), rel=0.1)
    assert flipped[found.indices].mean() > 0.9
    assert (np.diff(found.score) >= 0).all(), "the most suspect first"


def test_labels_that_p_agrees_with_are_left_alone() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(1000)
    assert len(suspects(p, p > 0.5).indices) == 0


def test_labels_of_one_kind_say_nothing() -> None:
    for labels in (np.ones(3, dtype=bool), np.zeros(3, dtype=bool)):
        assert len(suspects(np.full(3, 0.4), labels).indices) == 0
        with pytest.raises(ValueError, match="both kinds"):
            thresholds(np.full(3, 0.4), labels)


def test_a_label_of_which_nothing_is_counted_is_taken_at_its_word() -> None:
    p, labels = np.array([0.1, 0.1, 0.6, 0.4, 0.5]), np.array([0, 0, 1, 1, 1], dtype=bool)
    assert calibrated_joint(p, labels).sum() == pytest.approx(1)
    assert calibrated_joint(p, labels).sum(1) == pytest.approx([0.4, 0.6])


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30))
def test_the_joint_adds_up_to_the_label_shares(rows: list[tuple[float, bool]]) -> None:
    p, labels = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    if labels.all() or not labels.any():
        return
    joint = calibrated_joint(p, labels)
    assert (joint >= 0).all()
    assert joint.sum(1) == pytest.approx([1 - labels.mean(), labels.mean()])
    found = suspects(p, labels).indices
    assert len(set(found.tolist())) == len(found) <= len(rows)


@pytest.mark.parametrize(
    ("p", "labels"),
    [
        (np.array([0.5, 1.1]), np.array([True, False])),
        (np.array([0.5, np.nan]), np.array([True, False])),
        (np.array([0.5]), np.array([True, False])),
        (np.array([0.5, 0.5]), np.array([1, 0])),
    ],
)
def test_what_is_no_probability_or_no_label_is_refused(p: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must"):
        suspects(p, labels)


def test_several_criteria_count_most_at_their_worst() -> None:
    scores = np.array([[0.95, 0.9, 0.2], [0.2, 0.95, 0.9], [0.5, 0.5, 0.5]])
    assert criteria_score(scores) == pytest.approx([0.342, 0.342, 0.5])
    assert criteria_score(scores[:, :1]) == pytest.approx([0.95, 0.2, 0.5])
    assert criteria_score(scores[:1], alpha=1.0) == pytest.approx([0.2])
    for bad, alpha in ((np.empty((3, 0)), 0.8), (np.ones(3), 0.8), (scores, 1.2)):
        with pytest.raises(ValueError, match="need scores"):
            criteria_score(bad, alpha)
