"""How good a confidence is: does it rank right above wrong (AUROC), and does it mean what it says (ECE)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby


def auroc(confidence: Sequence[float], correct: Sequence[bool]) -> float | None:
    """P(a right answer's confidence > a wrong one's) + half of P(tie). None when only one class is there."""
    right = sum(correct)
    wrong = len(correct) - right
    if not right or not wrong:
        return None
    won, below = 0.0, 0
    for _, tied in groupby(sorted(zip(confidence, correct, strict=True)), key=lambda pair: pair[0]):
        labels = [label for _, label in tied]
        rights = sum(labels)
        wrongs = len(labels) - rights
        won += rights * (below + wrongs / 2)
        below += wrongs
    return won / (right * wrong)


def expected_calibration_error(confidence: Sequence[float], correct: Sequence[bool], bins: int = 10) -> float:
    """sum over equal-width bins of n_b/N |mean confidence - accuracy|; bins are (a, b], the first one closed.

    Biased upwards for small N, and the number of bins matters: give both beside it.
    """
    sums: dict[int, tuple[float, int]] = {}
    for p, label in zip(confidence, correct, strict=True):
        # a hair's breadth below the edge still belongs to the bin the edge closes: 0.7000000000000001 is 0.7
        place = max(0, math.ceil(p * bins - 1e-9) - 1)
        gap, count = sums.get(place, (0.0, 0))
        sums[place] = (gap + p - label, count + 1)
    return math.fsum(abs(gap) for gap, _ in sums.values()) / len(confidence)
