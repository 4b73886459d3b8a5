"""How wrong the answers let through can be, given how many of a held-out sample were wrong.

The bound is exact for a threshold fixed beforehand (Clopper and Pearson 1934). `certify` chooses among several by
fixed-sequence testing (`in_sequence`): it walks from the safest to the boldest and stops at the first that fails, so
all it passed hold together at the full delta (Angelopoulos et al. 2021, Learn then Test; Geifman and El-Yaniv 2017 for
the setting).
`certify_by_search` is for when no thresholds were fixed beforehand.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gate.errors import MissingExtra

try:
    from scipy.special import betaincinv
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error

T = TypeVar("T")
Bound = Callable[[int, int, float], float]
"""Upper limit on a risk, of errors, answers and delta."""


def upper_bound(errors: int, n: int, delta: float) -> float:
    """One-sided upper limit on an error rate after ``errors`` of ``n``, wrong with probability at most ``delta``."""
    _check(errors, n, delta)
    return 1.0 if errors == n else float(betaincinv(errors + 1, n - errors, 1 - delta))


def lower_bound(errors: int, n: int, delta: float) -> float:
    """One-sided lower limit on an error rate after ``errors`` of ``n``, wrong with probability at most ``delta``."""
    _check(errors, n, delta)
    return 0.0 if errors == 0 else float(betaincinv(errors, n - errors + 1, delta))


def errors_allowed(n: int, alpha: float, delta: float, *, bound: Bound = upper_bound) -> int | None:
    """The most errors among ``n`` answers with which the risk is certified below ``alpha``; None if not even none.

    The largest k with P[Bin(n, alpha) <= k] <= delta, unless the limit is another ``bound``.
    """
    _check_promise(alpha, delta)
    passing = bisect_right(range(n), alpha, key=lambda errors: bound(errors, n, delta))
    return passing - 1 if passing else None


def answers_needed(alpha: float, delta: float) -> int:
    """How many answers without a single error certify a risk of ``alpha``: no smaller sample ever can."""
    _check_promise(alpha, delta)
    return math.ceil(math.log(delta) / math.log1p(-alpha) - 1e-9)


def in_sequence(limits: Iterable[tuple[T, float]], alpha: float) -> Iterator[tuple[T, float, bool]]:
    """Test one after another, up to and with the first that fails: each with its limit, and whether it passed.

    ``limits`` are candidates, each with an upper limit on its risk that is wrong with probability at most delta. In an
    order that was chosen on other data, the first whose risk is above ``alpha`` passes with probability at most delta,
    and none behind it is tested unless it passes: so all that passed hold together at the full delta. Each limit is
    asked for only when those before it passed.
    """
    for candidate, limit in limits:
        passed = limit <= alpha
        yield candidate, limit, passed
        if not passed:
            return


@dataclass(frozen=True, slots=True)
class Candidate:
    """A threshold and what the whole policy did with it on the certification split."""

    threshold: float
    answered: int
    errors: int


def certify(
    candidates: Iterable[Candidate], alpha: float, delta: float, *, bound: Bound = upper_bound
) -> Candidate | None:
    """The boldest candidate whose error is below ``alpha`` with confidence ``1 - delta``, or None.

    ``candidates`` run from the safest (highest threshold) to the boldest and must have been chosen on other data.
    ``bound`` is another one where the errors are not plain counts of wrong answers (see `gate.guarantees.label_noise`).
    """
    # what answered nothing is too cautious to test: says nothing, costs nothing
    limits = ((c, bound(c.errors, c.answered, delta)) for c in candidates if c.answered)
    boldest = None
    for candidate, _, passed in in_sequence(limits, alpha):
        boldest = candidate if passed else boldest
    return boldest


def certify_by_search(
    confidence: Sequence[float] | npt.NDArray[np.float64],
    wrong: Sequence[bool] | npt.NDArray[np.bool_],
    alpha: float,
    delta: float,
) -> tuple[Candidate, float] | None:
    """The lowest threshold that passed a binary search over the confidences themselves, and its bound; or None.

    SGR (Geifman and El-Yaniv 2017). Each of ceil(log2 n) thresholds is tested at that part of ``delta``. Which are
    tested depends on the labels, so the promise needs a risk that does not rise with the threshold: with one that does,
    fix thresholds and use `certify`. ``confidence`` and ``wrong`` are [n].
    """
    score, error = np.asarray(confidence, dtype=np.float64), np.asarray(wrong)
    if score.shape != error.shape or score.ndim != 1 or np.isnan(score).any():
        raise ValueError(f"need a confidence and a label for each answer, got {score.shape} and {error.shape}")
    if len(error) and error.dtype != np.bool_:
        raise ValueError("a label is neither true nor false; leave out what has no label")
    _check_promise(alpha, delta)
    thresholds = np.sort(score)
    steps = max(1, math.ceil(math.log2(max(1, len(score)))))
    passed, low, high = None, 0, len(thresholds) - 1
    for _ in range(steps):
        if low > high:
            break
        middle = (low + high) // 2
        through = score >= thresholds[middle]
        tried = Candidate(float(thresholds[middle]), int(through.sum()), int(error[through].sum()))
        bound = upper_bound(tried.errors, tried.answered, delta / steps)
        if bound <= alpha:
            passed, high = (tried, bound), middle - 1
        else:
            low = middle + 1
    return passed


def _check(errors: int, n: int, delta: float) -> None:
    if not 0 <= errors <= n or not 0 < delta < 1:
        raise ValueError(f"need 0 <= errors <= n and 0 < delta < 1, got errors={errors}, n={n}, delta={delta}")


def _check_promise(alpha: float, delta: float) -> None:
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise ValueError(f"alpha and delta must be in (0, 1), got {alpha} and {delta}")
