"""Clusters of alike questions, and the share right within them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.tuning.clusters import LARGEST, SMALLEST, clusters, smoothed


def nearest_of(points: np.ndarray) -> np.ndarray:
    gaps = np.abs(points[:, None] - points[None, :])
    np.fill_diagonal(gaps, np.inf)
    return np.argsort(gaps, axis=1, kind="stable")[:, :3]


def test_the_share_of_a_cluster_as_worked_out() -> None:
    """A cluster of right, right and wrong: two thirds for each of them; noise keeps its own label."""
    labels = np.array([0, 0, 0, 1], dtype=np.int32)
    assert smoothed(labels, np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx([2 / 3, 2 / 3, 2 / 3, 0])


def test_what_has_no_label_counts_for_nothing() -> None:
    shares = smoothed(np.array([0, 0, 0, 1], dtype=np.int32), np.array([1.0, np.nan, 0.0, np.nan]))
    assert shares[[0, 2]].tolist() == [0.5, 0.5]
    assert np.isnan(shares[[1, 3]]).all()


def test_groups_that_lie_apart_are_parted_and_a_straggler_is_alone() -> None:
    points = np.array([0.0, 0.1, 0.21, 0.33, 10.0, 10.1, 10.21, 10.33, 500.0])
    labels = clusters(nearest_of(points))
    assert len(set(labels[:4])) == len(set(labels[4:8])) == 1
    assert len(set(labels.tolist())) == 3
    assert (labels == labels[8]).sum() == 1


def test_the_first_cluster_is_one_like_any_other() -> None:
    labels = clusters(nearest_of(np.array([0.0, 0.1, 0.21, 0.33])))
    assert labels.tolist() == [0, 0, 0, 0]
    assert smoothed(labels, np.array([1.0, 1.0, 0.0, 0.0])).tolist() == [0.5] * 4


def test_a_long_chain_is_parted() -> None:
    labels = clusters(nearest_of(np.cumsum(np.random.default_rng(0).random(500) + 1)))
    assert np.bincount(labels).max() <= LARGEST


@given(st.integers(4, 80), st.integers(0, 10**6), st.integers(1, 3))
def test_labels_have_no_gaps_and_no_pair_is_a_cluster(n: int, seed: int, links: int) -> None:
    labels = clusters(nearest_of(np.random.default_rng(seed).random(n))[:, :links])
    sizes = np.bincount(labels)
    assert sizes.min() >= 1
    assert not ((sizes > 1) & (sizes < SMALLEST)).any()
