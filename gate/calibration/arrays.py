"""Labelled answers as arrays, checked once for every metric.

``confidence`` and ``correct`` are of equal length n. What is no data raises ValueError: it must not become a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = Sequence[float] | npt.NDArray[np.floating[Any]]
Labels = Sequence[bool] | npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
_ROUNDING = 1e-9
"""How far beyond 0 or 1 a sum of probabilities may end up by rounding."""


def checked(confidence: Numbers, correct: Labels) -> tuple[Array, Bools]:
    """Numbers of which higher means surer, and the labels: both [n]."""
    score, right = np.asarray(confidence, dtype=np.float64), as_labels(correct)
    if score.shape != right.shape or score.ndim != 1:
        raise ValueError(f"confidence and correct must be as long as each other, got {score.shape} and {right.shape}")
    if np.isnan(score).any():
        raise ValueError("a confidence is not a number")
    return score, right


def checked_probabilities(confidence: Numbers, correct: Labels) -> tuple[Array, Bools]:
    """The same for confidences that are probabilities, where it matters what they say and not only their order."""
    p, right = checked(confidence, correct)
    if ((p < -_ROUNDING) | (p > 1 + _ROUNDING)).any():
        raise ValueError("a confidence lies outside [0, 1], so it is no probability")
    return np.clip(p, 0.0, 1.0), right


def as_labels(values: Labels) -> Bools:
    """Booleans, or numbers that are 0 or 1. A label that is missing is no "wrong"."""
    labels = np.asarray(values)
    if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
        raise ValueError("a label is neither true nor false; leave out what has no label")
    return labels.astype(np.bool_)


def shares(weights: Numbers | None, n: int) -> Array:
    """Weights that sum to 1: [n], alike where none are given.

    Give the inverse of the probability with which each answer was labelled, where that was not the same for all
    (Horvitz and Thompson 1952; divided by their sum, Hájek 1971).
    """
    if weights is None:
        return np.full(n, 1 / max(1, n))
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (n,):
        raise ValueError(f"there must be one weight for each of {n} answers, got {given.shape}")
    if not (np.isfinite(given).all() and (given > 0).all()):
        raise ValueError("a weight must be a finite number above 0; leave out what has none")
    return np.asarray(given / given.sum())
