"""Which labels are probably wrong: confident learning (Northcutt, Jiang and Chuang 2021) for right or wrong.

A probability must come from a calibrator that did not see that answer's label (`gate.tuning.fit.out_of_fold`). What is
found is for people to label again. To drop it from the answers that certify a policy would hide their errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
Labels = npt.NDArray[np.bool_]
_TOLERANCE = 1e-12
"""A probability that equals a threshold but for rounding reaches it."""


@dataclass(frozen=True, slots=True)
class Suspects:
    """Answers whose labels are probably wrong, the most suspect first."""

    indices: Integers
    """[m], places in the arrays given."""
    score: Array
    """[m], the probability of the label that the answer has: low = suspect."""


def suspects(
    p: npt.NDArray[np.floating[Any]], labels: Labels, *, by: Literal["noise_rate", "self_confidence"] = "noise_rate"
) -> Suspects:
    """Rank the labels that do not fit ``p`` [n], out-of-fold probabilities that the answers are right.

    As many as the calibrated joint says are wrong: with ``noise_rate`` of each label as many as of that label are,
    with ``self_confidence`` the least likely ones of both together. None with labels of one kind only.
    """
    likely, right = _checked(p, labels)
    own = np.where(right, likely, 1.0 - likely)
    if right.all() or not right.any():
        return Suspects(np.empty(0, dtype=np.intp), np.empty(0))
    wrong = calibrated_joint(likely, right) * len(right)
    if by == "self_confidence":
        found = np.argsort(own, kind="stable")[: _count(wrong[0, 1] + wrong[1, 0])]
    else:
        found = np.concatenate([_least(own, ~right, _count(wrong[0, 1])), _least(own, right, _count(wrong[1, 0]))])
    ranked = found[np.argsort(own[found], kind="stable")]
    return Suspects(ranked, own[ranked])


def thresholds(p: npt.NDArray[np.floating[Any]], labels: Labels) -> tuple[float, float]:
    """Mean probability of wrong over those labelled wrong, and of right over those labelled right."""
    likely, right = _checked(p, labels)
    if right.all() or not right.any():
        raise ValueError("need labels of both kinds: nothing is known of how likely the other kind looks")
    return float((1.0 - likely[~right]).mean()), float(likely[right].mean())


def confident_joint(p: npt.NDArray[np.floating[Any]], labels: Labels) -> npt.NDArray[np.int64]:
    """How many answers labelled i look like j, [2, 2] with 0 for wrong and 1 for right.

    An answer looks like j when j's probability reaches j's threshold; like the likelier one when both do; and is not
    counted when neither does.
    """
    likely, right = _checked(p, labels)
    least = thresholds(likely, right)
    both = np.column_stack([1.0 - likely, likely])
    reached = both >= np.array(least) - _TOLERANCE
    looks = np.where(reached, both, -1.0).argmax(1)
    made = np.zeros((2, 2), dtype=np.int64)
    np.add.at(made, (right[reached.any(1)].astype(np.intp), looks[reached.any(1)]), 1)
    return made


def calibrated_joint(p: npt.NDArray[np.floating[Any]], labels: Labels) -> Array:
    """The shares of answers labelled i that are j, [2, 2]: the confident joint, its rows brought to the label counts.

    A label of which nothing is counted is taken to be as it says.
    """
    _, right = _checked(p, labels)
    counted = confident_joint(p, labels).astype(np.float64)
    empty = counted.sum(1) == 0
    counted[empty] = np.eye(2)[empty]
    given = np.array([(~right).sum(), right.sum()])
    return np.asarray(counted / counted.sum(1, keepdims=True) * (given / len(right))[:, None])


def criteria_score(scores: npt.NDArray[np.floating[Any]], alpha: float = 0.8) -> Array:
    """One number [n] for ``scores`` [n, k] of k criteria: a moving average from the best to the worst of them.

    The worst counts ``alpha``, the next ``alpha`` of what is left, and so on (Thyagarajan et al. 2022).
    """
    if scores.ndim != 2 or not scores.shape[1] or not 0 <= alpha <= 1:
        raise ValueError(f"need scores of shape [n, k] with k > 0 and alpha in [0, 1], got {scores.shape}, {alpha}")
    falling = -np.sort(-scores.astype(np.float64), axis=1)
    made = falling[:, 0]
    for column in falling.T[1:]:
        made = alpha * column + (1 - alpha) * made
    return np.asarray(made)


def _least(own: Array, among: Labels, count: int) -> Integers:
    places = np.flatnonzero(among)
    return places[np.argsort(own[places], kind="stable")][:count]


def _count(share: float) -> int:
    return round(float(share))


def _checked(p: npt.NDArray[np.floating[Any]], labels: Labels) -> tuple[Array, Labels]:
    likely, right = np.asarray(p, dtype=np.float64), np.asarray(labels)
    if likely.ndim != 1 or likely.shape != right.shape or right.dtype != np.bool_:
        raise ValueError(f"p and labels must be [n], labels bool; got {likely.shape}, {right.shape} {right.dtype}")
    if not ((likely >= 0) & (likely <= 1)).all():
        raise ValueError("p must lie in [0, 1]")
    return likely, right
