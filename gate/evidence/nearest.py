"""Looking questions up in a reference pool: neighbours, how dense they lie, and what the fitted models say. Pure.

Everything takes many questions at once, in blocks, and treats a question that is in the pool as if it were not: it is
no neighbour of its own, and the models of the fold that never saw it are asked. So one function serves a request, a
test set and the questions a pool was fitted on.

*Similarity, distance, magnitude* (Schmaltz 2025): q is how many of the nearest labelled questions in a row the skill
model foretold rightly and have the label it foretells here; d is how near the nearest one lies, as the share of
comparable questions that lie further from theirs, the smaller of those over the two labels. *Hubs*, questions near to
everything, are held back by local scaling (CSLS, Conneau et al. 2018): neighbours are ranked by
``2 cos(x, y) - crowding(y)`` among the `RANKED` nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.evidence.reference_pool import WHOLE, Floats, ReferencePool

Rows = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
RANKED = 128
"""How many of the nearest are put in order."""
LONGEST_RUN = 100
"""Where the count of q ends."""
CROWD = 10
"""Over how many of the nearest the crowding of a question is taken."""
_BLOCK = 2**24
"""Cosines held at once."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Questions to look up: keys [n], unit vectors [n, d].

    ``answers`` [n, d] are the vectors of the answers on trial, a row of nan where there is none; ``second`` [n, e]
    those of the questions by the second embedder.
    """

    keys: npt.NDArray[np.uint64]
    vectors: Floats
    answers: Floats | None = None
    second: Floats | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What the pool says of n questions, for one upstream. Neighbours come first things first; nan where none is left.

    Log-odds are of the upstream being right. ``text`` is nan where there is no answer or no model for it; ``shared``
    None without vectors of a second embedder.
    """

    distances: Rows
    """[n, k]: Euclidean, between unit vectors: 0 to 2."""
    correct: Rows
    """[n, k]: the labels of the neighbours."""
    cluster: Rows
    """[n]: share right in the cluster of the nearest neighbour, the base rate counting as one more of its questions."""
    similarity: Indices
    """[n]: q."""
    closeness: Rows
    """[n]: share of all labelled questions that lie further from their nearest."""
    class_closeness: Rows
    """[n]: d."""
    skill: Rows
    text: Rows
    shared: npt.NDArray[np.bool_] | None
    """[n, k]: for the nearest by the second embedder in order, whether it is among the k nearest by the first."""


def look_up(pool: ReferencePool, upstream: int, sought: Sought, k: int) -> Found:
    """What the pool says of an upstream (its column), by the ``k`` nearest questions it is labelled on."""
    labelled = pool.labelled[:, upstream]
    order, cosines = ranked(sought.keys, sought.vectors, pool.keys, pool.vectors, pool.crowding, labelled)
    there = np.isfinite(cosines)
    parts = part_of(pool, sought.keys)
    skills = skill(sought.vectors, pool.skill_projection, pool.skill_loadings, pool.skill_intercepts, parts)
    leaning = skills[:, upstream]
    foretold = (pool.correct[order, upstream] >= 0.5) == (leaning >= 0)[:, None]
    nearest, own = distance(cosines.max(1)), own_rows(sought.keys, pool.keys)
    shared = None
    if sought.second is not None and pool.second.shape[1]:
        other, _ = ranked(sought.keys, sought.second, pool.keys, pool.second, np.zeros_like(pool.crowding), labelled)
        shared = among(other[:, :k], order[:, :k]) & there[:, :k]
    return Found(
        distances=distance(cosines[:, :k]),
        correct=np.where(there, pool.correct[order, upstream], np.nan)[:, :k],
        cluster=np.where(there[:, 0], _cluster_means(pool, upstream, order[:, 0], sought.keys), np.nan),
        similarity=run_length(there & foretold & (pool.predicted_right[parts[:, None], order, upstream] == 1)),
        closeness=closeness(nearest, pool.all_distances[upstream], (own >= 0) & labelled[own]),
        class_closeness=np.minimum(
            *(
                closeness(nearest, pool.nearest[members, upstream], (own >= 0) & members[own])
                for members in pool.comparable[upstream]
            )
        ),
        skill=leaning,
        text=_text(pool, upstream, sought, parts),
        shared=shared,
    )


def ranked(
    keys: npt.NDArray[np.uint64],
    vectors: Floats,
    pool_keys: npt.NDArray[np.uint64],
    pool_vectors: Floats,
    crowding: Floats,
    usable: npt.NDArray[np.bool_],
) -> tuple[Indices, Floats]:
    """The `RANKED` nearest of each question, best first: their rows in the pool and their cosines, both [n, <= 128].

    Only ``usable`` rows are looked at, and none with the question's own key. Where too few are left the cosine is
    minus infinity, and the row means nothing. Equally near ones stand in the order of the pool.
    """
    most = min(RANKED, len(pool_keys))
    orders, cosines = [], []
    step = max(1, _BLOCK // len(pool_keys))
    own = own_rows(keys, pool_keys)
    for start in range(0, len(keys), step):
        block = slice(start, start + step)
        near = vectors[block] @ pool_vectors.T
        near[:, ~usable] = -np.inf
        known = np.flatnonzero(own[block] >= 0)
        near[known, own[block][known]] = -np.inf
        first = np.sort(np.argpartition(-near, most - 1, axis=1)[:, :most], axis=1)
        # rounded: the last digits hang on how many are looked up at once, and what ties must tie always
        close = np.round(np.take_along_axis(near, first, axis=1), 6)
        again = np.argsort(crowding[first] - 2 * close, axis=1, kind="stable")
        orders.append(np.take_along_axis(first, again, axis=1))
        cosines.append(np.take_along_axis(close, again, axis=1))
    return np.concatenate(orders), np.concatenate(cosines)


def own_rows(keys: npt.NDArray[np.uint64], pool_keys: npt.NDArray[np.uint64]) -> Indices:
    """[n]: the row of the pool that holds each key; -1 where none does."""
    if len(keys) == 1:
        return np.append(np.flatnonzero(pool_keys == keys[0]), -1)[:1].astype(np.intp)
    order = np.argsort(pool_keys)
    at = order[np.minimum(np.searchsorted(pool_keys, keys, sorter=order), len(order) - 1)]
    return np.asarray(np.where(pool_keys[at] == keys, at, -1))


def distance(cosines: npt.NDArray[Any]) -> Rows:
    """Euclidean distance between unit vectors; nan where there is no neighbour."""
    squared = np.maximum(0.0, 2.0 - 2.0 * cosines.astype(np.float64))
    return np.where(np.isfinite(squared), np.sqrt(squared), np.nan)


def run_length(good: npt.NDArray[np.bool_]) -> Indices:
    """How many stand in a row from the first on, before one is false: [n, k] to [n], at most `LONGEST_RUN`."""
    cut = good[:, :LONGEST_RUN]
    return np.asarray(np.where(cut.all(1), cut.shape[1], cut.argmin(1)), dtype=np.intp)


def closeness(nearest: Rows, known: Floats, own: npt.NDArray[np.bool_]) -> Rows:
    """1 - eCDF: the share of the distances ``known`` that are larger; 0 without any, or where there is none.

    ``own`` [n] says whose own distance is among them: it is left out of count. The smaller of both labels' shares is
    the d of similarity-distance-magnitude.
    """
    larger = len(known) - np.searchsorted(np.sort(known), nearest.astype(np.float32), side="right")
    others = len(known) - own
    return np.where(np.isnan(nearest) | (others < 1), 0.0, np.minimum(1.0, larger / np.maximum(1, others)))


def among(rows: Indices, others: Indices) -> npt.NDArray[np.bool_]:
    """For each entry of [n, k], whether it stands anywhere in the same row of the other [n, k]."""
    return np.asarray((rows[:, :, None] == others[:, None, :]).any(2))


def part_of(pool: ReferencePool, keys: npt.NDArray[np.uint64]) -> Indices:
    """The part of the models that never saw each question: that of its fold if it is in the pool, else the whole."""
    rows = own_rows(keys, pool.keys)
    return np.asarray(np.where(rows < 0, WHOLE, 1 + pool.folds[rows].astype(np.intp)))


def skill(vectors: Floats, projection: Floats, loadings: Floats, intercepts: Floats, parts: Indices) -> Rows:
    """Log-odds of each upstream being right on each question, [n, m]: ``u_m . (W e) + b_m`` (EmbedLLM, Zhuang 2025).

    W [p, r, d] brings a question to r traits, u [p, m, r] is an upstream's skill in each, b [p, m] its level; ``parts``
    [n] picks one of the p models for each question.
    """
    odds = np.empty((len(vectors), loadings.shape[1]))
    for part in np.unique(parts):
        rows = parts == part
        odds[rows] = (vectors[rows] @ projection[part].T) @ loadings[part].T + intercepts[part]
    return odds


def _text(pool: ReferencePool, upstream: int, sought: Sought, parts: Indices) -> Rows:
    if sought.answers is None:
        return np.full(len(sought.keys), np.nan)
    odds = np.empty(len(sought.keys))
    for part in np.unique(parts):
        rows = parts == part
        both = np.hstack([sought.vectors[rows], sought.answers[rows]])
        odds[rows] = both @ pool.text_weights[part, upstream] + pool.text_intercepts[part, upstream]
    return odds


def _cluster_means(pool: ReferencePool, upstream: int, nearest: Indices, keys: npt.NDArray[np.uint64]) -> Rows:
    """Share right in the cluster of each nearest neighbour, held back towards the base rate; no question in its own."""
    labelled, labels = pool.labelled[:, upstream], np.nan_to_num(pool.correct[:, upstream].astype(np.float64))
    size = int(pool.clusters.max()) + 1
    sums = np.bincount(pool.clusters, weights=labels, minlength=size)
    counts = np.bincount(pool.clusters, weights=labelled, minlength=size)
    wanted = pool.clusters[nearest]
    own = own_rows(keys, pool.keys)
    inside = (own >= 0) & (pool.clusters[own] == wanted)
    others = counts[wanted] - np.where(inside, labelled[own], 0)
    right = sums[wanted] - np.where(inside, labels[own], 0.0)
    return np.asarray((right + pool.base_rates[upstream]) / (others + 1.0))
