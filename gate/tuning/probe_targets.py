"""What two probes are fitted to that is no label as it stands: certain errors, and high semantic entropy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CERTAIN_SHARE = 0.65
"""What certain errors weigh among all errors: the tuned probe of "Trust Me, I'm Wrong" (CHOKE; Simhi et al. 2025)."""


def certainty_threshold(certainty: Array, correct: Bools) -> float:
    """T*: an answer with a certainty above it counts as certain.

    The t of least ``share of wrong answers above t + share of right answers below t``: shares, not counts, so that it
    is that of balanced samples whatever the accuracy. Tie rule: only certainties that occur count as t, and of several
    with the least cost the lowest is taken, so that more errors count as certain. Raises ValueError where all answers
    are right or all wrong.
    """
    rights, wrongs = np.sort(certainty[correct]), np.sort(certainty[~correct])
    if not len(rights) or not len(wrongs):
        raise ValueError("a threshold needs right and wrong answers")
    candidates = np.unique(certainty)
    wrong_above = len(wrongs) - np.searchsorted(wrongs, candidates, side="right")
    right_below = np.searchsorted(rights, candidates, side="left")
    return float(candidates[(wrong_above * len(rights) + right_below * len(wrongs)).argmin()])


def certain_errors(certainty: Array, correct: Bools) -> Bools:
    """[n]: wrong, and more certain than `certainty_threshold`."""
    return ~correct & (certainty > certainty_threshold(certainty, correct))


def error_weights(certainty: Array, correct: Bools) -> Array:
    """[n]: 1 for a right answer; certain errors have at least `CERTAIN_SHARE` of the weight of all errors.

    As if they were oversampled, but errors weigh as much together as they are many: the class ratio stays.
    """
    certain = certain_errors(certainty, correct)
    errors, few = int((~correct).sum()), int(certain.sum())
    share = max(CERTAIN_SHARE, few / errors)
    if not 0 < few < errors:
        return np.ones(len(correct))
    return np.where(correct, 1.0, np.where(certain, share * errors / few, (1 - share) * errors / (errors - few)))


def entropy_split(entropies: Array) -> float:
    """The entropy above which one counts as high: that of least squared error within the two groups it makes.

    As in "Semantic Entropy Probes" (Kossen et al. 2024). Only entropies that occur count; where all are the same it is
    that one, and none is high.
    """
    ordered = np.sort(entropies)
    counts = np.arange(1, len(ordered))
    low = np.cumsum(ordered)[:-1]
    # within-group squares = all squares - sum of (group sum)^2 / group size, the first of which is the same for all
    between = low**2 / counts + (ordered.sum() - low) ** 2 / (len(ordered) - counts)
    between[ordered[1:] == ordered[:-1]] = -np.inf
    return float(ordered[between.argmax()]) if ordered[0] < ordered[-1] else float(ordered[0])
