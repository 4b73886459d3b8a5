"""How well a confidence ranks: does it put right answers above wrong ones.

``confidence`` and ``correct`` are sequences of equal length n: numbers of which higher means surer, and the labels.
Ranking metrics look at the order alone, so they also take raw signals. A metric that is not defined for the data (one
class only, nothing there) is None, never a number. Whether a confidence means what it says is asked in
`gate.calibration.calibration_error` and `gate.calibration.proper_scores`, what one threshold does with it in
`gate.calibration.selection`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gate.calibration.arrays import Array, Bools, Labels, Numbers, checked, shares
from gate.calibration.calibration_error import expected_calibration_error

__all__ = [
    "auarc",
    "auprc_error",
    "auprc_success",
    "aurc",
    "auroc",
    "excess_aurc",
    "expected_calibration_error",
    "fpr_at_recall",
    "prediction_rejection_ratio",
    "risk_coverage",
]


def auroc(confidence: Numbers, correct: Labels, *, weights: Numbers | None = None) -> float | None:
    """P(a right answer's confidence > a wrong one's) + half of P(tie). None when only one class is there.

    ``weights`` (see `gate.calibration.arrays.shares`) make it that of the whole, where labels are a weighted sample.
    """
    score, right = checked(confidence, correct)
    if one_class(right):
        return None
    weight = np.ones(len(right)) if weights is None else shares(weights, len(right))
    rights, wrongs = (_per_score(score, weight * of)[0] for of in (right, ~right))
    below = np.cumsum(wrongs) - wrongs
    return float((rights * (below + wrongs / 2)).sum() / (rights.sum() * wrongs.sum()))


def auprc_error(confidence: Numbers, correct: Labels) -> float | None:
    """Average precision at finding the wrong answers, least confident first. Its base rate is the error rate.

    Answers of equal confidence enter together. None when only one class is there.
    """
    score, right = checked(confidence, correct)
    return _average_precision(-score, ~right)


def auprc_success(confidence: Numbers, correct: Labels) -> float | None:
    """Average precision at finding the right answers, most confident first. Its base rate is the accuracy."""
    return _average_precision(*checked(confidence, correct))


def risk_coverage(confidence: Numbers, correct: Labels) -> Array:
    """Selective risk at coverage k/n for k = 1 … n, the most confident first: [n].

    Within a tie it is the expectation over the orders, for a policy cannot tell them apart.
    """
    score, right = checked(confidence, correct)
    return _means_of_the_surest(score, (~right).astype(np.float64))


def aurc(confidence: Numbers, correct: Labels) -> float | None:
    """Area under the risk-coverage curve, as the mean over k (Geifman and El-Yaniv 2017). None without answers."""
    return float(risk_coverage(confidence, correct).mean()) if len(correct) else None


def excess_aurc(confidence: Numbers, correct: Labels) -> float | None:
    """AURC less that of a perfect order with as many errors (E-AURC; Geifman, Uziel and El-Yaniv 2019).

    The perfect order is that of these n answers, not the limit for many, which is too low where n is small.
    """
    score, right = checked(confidence, correct)
    if not len(right):
        return None
    wrong = (~right).astype(np.float64)
    return float(_means_of_the_surest(score, wrong).mean() - _means_of_the_surest(-wrong, wrong).mean())


def auarc(confidence: Numbers, correct: Labels, *, trapezoid: bool = False) -> float | None:
    """Area under the accuracy-rejection curve: the mean over k, which is 1 - AURC.

    With ``trapezoid`` by that rule, the n accuracies spread evenly over [0, 1], as some papers on language models do
    (Lin et al. 2023): the two differ in the second decimal for small n. None without answers; the trapezoid needs two.
    """
    accuracy = 1.0 - risk_coverage(confidence, correct)
    if len(accuracy) < (2 if trapezoid else 1):
        return None
    return float(((accuracy[1:] + accuracy[:-1]) / 2).mean() if trapezoid else accuracy.mean())


def prediction_rejection_ratio(
    confidence: Numbers, quality: Numbers | Labels, *, max_rejection: float = 1.0
) -> float | None:
    """(area - random area) / (perfect area - random area): 1 for a perfect order, 0 for a random one.

    The prediction rejection ratio of Malinin and Gales 2021. The area is the mean quality of what is kept while the
    least confident are rejected one by one, up to the share ``max_rejection``. ``quality`` in [0, 1] is graded or 0/1.
    The random order has its exact mean, not that of shuffles. None when all are of one quality or nothing is rejected.
    """
    score, worth = np.asarray(confidence, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    if score.shape != worth.shape or score.ndim != 1:
        raise ValueError(f"confidence and quality must be as long as each other, got {score.shape} and {worth.shape}")
    if np.isnan(score).any() or not ((worth >= 0) & (worth <= 1)).all():
        raise ValueError("a confidence is not a number or a quality not in [0, 1]")
    if not 0 < max_rejection <= 1:
        raise ValueError(f"max_rejection must be in (0, 1], got {max_rejection}")
    steps = int(max_rejection * len(worth) + 1e-9)
    if steps < 2 or worth.min() == worth.max():
        return None
    area, perfect = (float(_means_of_the_surest(order, worth)[-steps:].mean()) for order in (score, worth))
    random = float(worth.mean())
    return (area - random) / (perfect - random)


def fpr_at_recall(confidence: Numbers, correct: Labels, recall: float = 0.95) -> float | None:
    """The share of wrong answers let through at the highest threshold that lets this share of the right ones through.

    FPR95 for the default. None when only one class is there.
    """
    if not 0 < recall <= 1:
        raise ValueError(f"recall must be in (0, 1], got {recall}")
    score, right = checked(confidence, correct)
    if one_class(right):
        return None
    rights = np.sort(score[right])[::-1]
    threshold = rights[int(np.ceil(recall * len(rights) - 1e-9)) - 1]
    return float((score[~right] >= threshold).mean())


def one_class(right: Bools) -> bool:
    """Whether there is nothing to tell apart."""
    return not 0 < int(right.sum()) < len(right)


def _average_precision(score: Array, sought: Bools) -> float | None:
    if one_class(sought):
        return None
    held, sizes = _per_score(score, sought.astype(np.float64))
    found, taken = np.cumsum(held[::-1]), np.cumsum(sizes[::-1])
    return float((held[::-1] * found / taken).sum() / sought.sum())


def _means_of_the_surest(score: Array, values: Array) -> Array:
    """Mean of ``values`` over the k of highest score, k = 1 … n: [n]; within a tie, the expectation over its orders."""
    totals, sizes = _per_score(score, values)
    each = np.repeat((totals / sizes)[::-1], sizes[::-1])
    return np.asarray(np.cumsum(each) / np.arange(1, len(values) + 1))


def _per_score(score: Array, values: Array) -> tuple[Array, npt.NDArray[np.intp]]:
    """For each distinct score, ascending: the sum of ``values`` that have it, and how many answers."""
    _, group, sizes = np.unique(score, return_inverse=True, return_counts=True)
    return np.bincount(group, weights=values, minlength=len(sizes)).astype(np.float64), sizes
