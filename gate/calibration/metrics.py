"""How good a confidence is: does it rank right above wrong, and does it mean what it says.

``confidence`` and ``correct`` are sequences of equal length n: numbers of which higher means surer, and the labels.
Ranking metrics look at the order alone, so they also take raw signals. A metric that is not defined for the data (one
class only, nothing there) is None, never a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = Sequence[float] | npt.NDArray[np.floating[Any]]
Labels = Sequence[bool] | npt.NDArray[np.bool_]
_Array = npt.NDArray[np.float64]


def auroc(confidence: Numbers, correct: Labels) -> float | None:
    """P(a right answer's confidence > a wrong one's) + half of P(tie). None when only one class is there."""
    score, right = _arrays(confidence, correct)
    rights, n = int(right.sum()), len(right)
    if not 0 < rights < n:
        return None
    _, group, sizes = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(sizes) - (sizes - 1) / 2  # the mean rank of those that tie, from 1
    return float((rank[group][right].sum() - rights * (rights + 1) / 2) / (rights * (n - rights)))


def auprc_error(confidence: Numbers, correct: Labels) -> float | None:
    """Average precision at finding the wrong answers, least confident first. Its base rate is the error rate.

    Answers of equal confidence enter together. None when only one class is there.
    """
    score, right = _arrays(confidence, correct)
    wrongs = int((~right).sum())
    if not 0 < wrongs < len(right):
        return None
    found, taken = (np.cumsum(x[::-1]) for x in _groups(-score, ~right))
    gained = np.diff(found, prepend=0.0)
    return float((gained * found / taken).sum() / wrongs)


def risk_coverage(confidence: Numbers, correct: Labels) -> _Array:
    """Selective risk at coverage k/n for k = 1 … n, the most confident first: [n].

    Within a tie it is the expectation over the orders, for a policy cannot tell them apart.
    """
    score, right = _arrays(confidence, correct)
    errors, sizes = (x[::-1] for x in _groups(score, ~right))
    each = np.repeat(errors / sizes, sizes.astype(np.intp))
    return np.cumsum(each) / np.arange(1, len(right) + 1)


def aurc(confidence: Numbers, correct: Labels) -> float | None:
    """Area under the risk-coverage curve, as the mean over k (Geifman and El-Yaniv 2017). None without answers."""
    return float(risk_coverage(confidence, correct).mean()) if len(correct) else None


def prediction_rejection_ratio(confidence: Numbers, correct: Labels) -> float | None:
    """(random AURC - AURC) / (random AURC - oracle AURC): 1 for a perfect order, 0 for a random one.

    The prediction rejection ratio of Malinin et al. 2020 for 0/1 quality and rejection of up to everything, with the
    exact mean for the random order. None when only one class is there.
    """
    _, right = _arrays(confidence, correct)
    if not 0 < right.sum() < len(right):
        return None
    random = float((~right).mean())
    oracle = float(risk_coverage(right.astype(np.float64), right).mean())
    return (random - float(risk_coverage(confidence, correct).mean())) / (random - oracle)


def expected_calibration_error(confidence: Numbers, correct: Labels, bins: int = 10) -> float:
    """sum over equal-width bins of n_b/N |mean confidence - accuracy|; bins are (a, b], the first one closed.

    Biased upwards for small N, and the number of bins matters: give both beside it.
    """
    p, right = _arrays(confidence, correct)
    # a hair's breadth above the edge still belongs to the bin the edge closes: 0.7000000000000001 is 0.7
    place = np.clip(np.ceil(p * bins - 1e-9).astype(np.intp) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(place, weights=p - right, minlength=bins)).sum() / len(p))


def _arrays(confidence: Numbers, correct: Labels) -> tuple[_Array, npt.NDArray[np.bool_]]:
    score, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    if score.shape != right.shape or score.ndim != 1:
        raise ValueError(f"confidence and correct must be as long as each other, got {score.shape} and {right.shape}")
    if np.isnan(score).any():
        raise ValueError("a confidence is not a number")
    return score, right


def _groups(score: _Array, counted: npt.NDArray[np.bool_]) -> tuple[_Array, _Array]:
    """For each distinct score, ascending: how many of ``counted`` have it, and how many answers."""
    _, group, sizes = np.unique(score, return_inverse=True, return_counts=True)
    held = np.bincount(group, weights=counted.astype(np.float64), minlength=len(sizes))
    return held.astype(np.float64), sizes.astype(np.float64)
