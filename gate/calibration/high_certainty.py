"""Wrong answers a model was sure of, though it knew better: what no certainty of its own can catch.

After Simhi et al. 2025 ("Trust me, I'm wrong"). Such a slice is kept beside the test split, and the share of it that a
policy catches is given beside AUROC. A certainty is any number that is higher when the model is surer: the probability
of the first token, its lead over the second, the semantic entropy turned round.
"""

from __future__ import annotations

import numpy as np

from gate.calibration.arrays import Bools, Labels, Numbers, as_labels, checked
from gate.calibration.metrics import one_class


def certain_above(certainty: Numbers, correct: Labels) -> float | None:
    """The certainty above which a model counts as sure: the best cut between right and wrong.

    Of the values seen, the one with the least share of wrong answers above it plus share of right ones below it. The
    shares weigh the classes alike, as a balanced sample does: at the natural ratio of the two the slice would be empty
    or everything. Of several the lowest, for above the highest there is often nothing. None when only one class is
    there.
    """
    score, right = checked(certainty, correct)
    if one_class(right):
        return None
    values = np.unique(score)
    rights, wrongs = np.sort(score[right]), np.sort(score[~right])
    above = 1.0 - np.searchsorted(wrongs, values, side="right") / len(wrongs)
    below = np.searchsorted(rights, values, side="left") / len(rights)
    cost = above + below
    return float(values[np.flatnonzero(cost <= cost.min() + 1e-12)[0]])


def high_certainty_wrong(certainty: Numbers, correct: Labels, above: float, *, known: Labels | None = None) -> Bools:
    """Which answers are wrong though the certainty is above the cut, and the model knows the fact where that is said.

    Join what several certainties find by ``&`` (all of them were sure) or ``|`` (one of them was): [n].
    """
    score, right = checked(certainty, correct)
    found = ~right & (score > above)
    if known is None:
        return found
    knows = as_labels(known)
    if knows.shape != found.shape:
        raise ValueError(f"known must be as long as correct, got {knows.shape} and {found.shape}")
    return found & knows


def catch_rate(caught: Labels, certain_wrong: Labels) -> float | None:
    """The share of the slice that a policy did not let through. None when the slice is empty."""
    stopped, slice_ = as_labels(caught), as_labels(certain_wrong)
    if stopped.shape != slice_.shape:
        raise ValueError(f"caught and certain_wrong must be as long as each other, got {stopped.shape}, {slice_.shape}")
    return float(stopped[slice_].mean()) if slice_.any() else None
