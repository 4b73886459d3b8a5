"""Clusters of alike questions, from their vectors alone.

Two questions are linked when each is among the other's `LINKS` nearest; clusters are what hangs together. A cluster of
more than `LARGEST` is parted again by fewer links, for chains of near neighbours otherwise run through everything. One
of fewer than `SMALLEST` is noise: each of its questions gets a cluster of its own (as in APRICOT, Ulmer et al. 2024,
which takes HDBSCAN for it).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gate.errors import MissingExtra

try:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error

LINKS = 3
SMALLEST = 3
LARGEST = 30


def clusters(nearest: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
    """A label for each question, numbered from 0 without gaps. ``nearest`` [n, >= 1]: rows of the nearest, best first.

    The labels of correctness have no part in it.
    """
    n = len(nearest)
    labels, size = np.zeros(n, dtype=np.intp), np.full(n, LARGEST + 1)
    for links in range(min(LINKS, nearest.shape[1]), 0, -1):
        _, parted = connected_components(_mutual(nearest[:, :links]), directed=False)
        labels = np.where(size > LARGEST, n + parted, labels)
        labels = np.unique(labels, return_inverse=True)[1]
        size = np.bincount(labels)[labels]
    labels = np.where(size < SMALLEST, n + np.arange(n), labels)
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)


def _mutual(nearest: npt.NDArray[np.intp]) -> coo_array:
    """The links that go both ways, [n, n] sparse."""
    n, k = nearest.shape
    one_way = coo_array((np.ones(n * k), (np.repeat(np.arange(n), k), nearest.ravel())), shape=(n, n)).tocsr()
    return one_way.minimum(one_way.T)


def smoothed(labels: npt.NDArray[np.int32], correct: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The share right in each question's cluster, over those that have a label; nan stays nan."""
    there = ~np.isnan(correct)
    sums = np.bincount(labels, weights=np.where(there, correct, 0.0))
    counts = np.bincount(labels, weights=there)
    return np.where(there, sums[labels] / np.maximum(1, counts[labels]), np.nan)
