"""Is a difference more than chance: intervals by resampling questions, and an exact test of two accuracies.

Questions are drawn with replacement and bring all their answers along (Efron 1979; the cluster is the question, its
template or its user: whatever makes answers alike). Intervals are percentiles of the resamples, without any claim on
the shape of the distribution. With few clusters they are too narrow: at 80, a 95 % interval of a difference in AUROC
misses it in 5 to 6 % of the cases, of one in AURC in 8 %.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.calibration.arrays import Array, Bools, Labels, Numbers, as_labels, checked

Metric = Callable[[Array, Bools], float | None]
"""Of confidence and correct, as in `gate.calibration.metrics`."""
Clusters = Sequence[Hashable] | npt.NDArray[Any]
"""To which question each answer belongs: a name, a number, a pair of both."""
RESAMPLES = 2000
_BLOCK = 2_000_000
"""How many counts of drawn clusters are held at once."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value on the data as they are, and where it falls in the middle ``level`` of the resamples."""

    value: float
    low: float
    high: float
    clusters: int
    resamples: int
    """Those for which it is defined; a resample of one class has no AUROC."""


def bootstrap_metric(
    metric: Metric,
    confidence: Numbers,
    correct: Labels,
    clusters: Clusters | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """The interval of one metric. ``clusters`` are [n]; without them every answer is a question of its own.

    None when the metric is undefined on the data or on half of the resamples, or with fewer than two clusters.
    """
    score, right = checked(confidence, correct)
    owner = _owners(clusters, len(right))
    return _resampled(lambda rows: metric(score[rows], right[rows]), owner, resamples, level, seed)


def paired_bootstrap(
    metric: Metric,
    one: Numbers,
    other: Numbers,
    correct: Labels,
    clusters: Clusters | None = None,
    *,
    other_correct: Labels | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """``metric(one) - metric(other)`` over the same questions: both are taken on the same resample.

    ``other_correct`` are the labels of the other's answers, where those are not the same answers. None as for
    `bootstrap_metric`.
    """
    ours, right = checked(one, correct)
    theirs, their_right = checked(other, correct if other_correct is None else other_correct)
    if len(ours) != len(theirs):
        raise ValueError(f"a pair must be of the same answers, got {len(ours)} and {len(theirs)}")

    def difference(rows: npt.NDArray[np.intp] | slice) -> float | None:
        a, b = metric(ours[rows], right[rows]), metric(theirs[rows], their_right[rows])
        return None if a is None or b is None else a - b

    return _resampled(difference, _owners(clusters, len(right)), resamples, level, seed)


def bootstrap_mean(
    values: Numbers,
    clusters: Clusters | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """The interval of a mean of what each answer has: all resamples in one matrix product.

    For a paired comparison give the difference in each answer: of right (accuracy), of squared error (Brier), of cost.
    """
    _check(resamples, level)
    each = np.asarray(values, dtype=np.float64)
    if each.ndim != 1 or not np.isfinite(each).all():
        raise ValueError("values must be a list of finite numbers")
    owner = _owners(clusters, len(each))
    k = _count(owner)
    if k < 2:
        return None
    total, size = np.bincount(owner, weights=each, minlength=k), np.bincount(owner, minlength=k)
    drawn = np.concatenate([counts @ np.column_stack([total, size]) for counts in _draws(k, resamples, seed)])
    return _interval(float(each.mean()), drawn[:, 0] / drawn[:, 1], k, resamples, level)


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two ways to answer the same questions: those that only one got right, and the two-sided p-value."""

    one_only: int
    other_only: int
    p: float


def mcnemar(one_correct: Labels, other_correct: Labels) -> McNemar:
    """The exact test of McNemar (1947) that two accuracies on the same questions are equal.

    Of the questions that only one got right, each is as likely either's. With none there is nothing against it: p is 1.
    It takes questions as independent; where they come in clusters use `bootstrap_mean` on the difference.
    """
    one, other = as_labels(one_correct), as_labels(other_correct)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"both must have a label for each question, got {one.shape} and {other.shape}")
    a, b = int((one & ~other).sum()), int((other & ~one).sum())
    tail, ways = 0, 1  # whole numbers, so the quotient is exact however many they are
    for k in range(min(a, b) + 1):
        tail, ways = tail + ways, ways * (a + b - k) // (k + 1)
    return McNemar(a, b, min(1.0, 2 * tail / 2 ** (a + b)))


def _check(resamples: int, level: float) -> None:
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"need at least one resample and a level in (0, 1), got {resamples} and {level}")


def _owners(clusters: Clusters | None, n: int) -> npt.NDArray[np.intp]:
    """The number of the cluster of each answer: [n]."""
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise ValueError(f"there must be one cluster for each of {n} answers, got {len(clusters)}")
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(cluster, len(number)) for cluster in clusters], dtype=np.intp)


def _count(owner: npt.NDArray[np.intp]) -> int:
    return int(owner.max(initial=-1)) + 1


def _draws(k: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """How often each of k clusters was drawn, in blocks of resamples: [·, k] each."""
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // k)
    for begun in range(0, resamples, step):
        yield rng.multinomial(k, np.full(k, 1 / k), size=min(step, resamples - begun))


def _resampled(
    of: Callable[[npt.NDArray[np.intp] | slice], float | None],
    owner: npt.NDArray[np.intp],
    resamples: int,
    level: float,
    seed: int,
) -> Interval | None:
    _check(resamples, level)
    k = _count(owner)
    value = of(slice(None)) if k >= 2 else None
    if value is None:
        return None
    every = np.arange(len(owner))
    found = [of(np.repeat(every, counts[owner])) for block in _draws(k, resamples, seed) for counts in block]
    defined = np.array([x for x in found if x is not None], dtype=np.float64)
    return _interval(value, defined, k, resamples, level)


def _interval(value: float, drawn: Array, k: int, resamples: int, level: float) -> Interval | None:
    if 2 * len(drawn) <= resamples:
        return None
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), k, len(drawn))
