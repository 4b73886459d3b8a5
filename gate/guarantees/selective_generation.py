"""The share of answers that do not agree with the reference, from few labels and many answers without one.

Whether an answer agrees with a reference (is entailed by it) takes a person to say, and a model of entailment gives its
probability for free. After Lee et al. 2024 (Selective Generation for Controllable Language Models), for any cut c:

    P(not entailed) = P(not entailed, p >= c) + P(p < c) - P(entailed, p < c)

The first and the last are bounded from the few labels, the middle from the many pairs without. A good model makes the
first rare and the last small; a poor one costs nothing but a part of delta, since the bound from the labels alone is
taken where it is the smaller. It pays from a few hundred labels among the answers on. Labels must be given to pairs
drawn at random.

Two departures from the paper: the cuts are fixed beforehand, since a cut learned on the labels whose bounds it enters
leaves those without their promise; and the smaller of the two bounds is taken instead of their mixture by the shares of
labelled and unlabelled, which is never below it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.guarantees.selective_risk import lower_bound, upper_bound

CUTS = (0.5,)
Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Answers beside their references: [n] each."""

    confidence: Array
    """By which answers are let through: higher means surer."""
    entailment: Array
    """The model's probability that the answer is entailed."""

    def __post_init__(self) -> None:
        if self.confidence.shape != self.entailment.shape or self.confidence.ndim != 1:
            raise ValueError("there must be one probability of entailment for each confidence")
        if np.isnan(self.confidence).any() or np.isnan(self.entailment).any():
            raise ValueError("a confidence or a probability of entailment is not a number")

    def above(self, threshold: float) -> Bools:
        return np.asarray(self.confidence >= threshold)


def entailment_bound(
    entailed: Bools, labelled: Array, unlabelled: Array, delta: float, cuts: Sequence[float] = CUTS
) -> float:
    """One-sided upper limit on the share of answers that are not entailed, wrong with probability at most ``delta``.

    ``entailed`` and ``labelled`` are the labels and the model's probabilities of the few, ``unlabelled`` those of the
    many. Half of ``delta`` goes to the labels alone; each cut has an even part of the rest, for three limits.
    """
    n, m = len(labelled), len(unlabelled)
    bounds = [upper_bound(int((~entailed).sum()), n, delta / 2)]
    part = delta / (6 * max(1, len(cuts)))
    for cut in cuts:
        missed = upper_bound(int((~entailed & (labelled >= cut)).sum()), n, part)
        below = upper_bound(int((unlabelled < cut).sum()), m, part)
        spared = lower_bound(int((entailed & (labelled < cut)).sum()), n, part)
        bounds.append(missed + below - spared)
    return max(0.0, min(bounds))


def certify_generation(
    labelled: Pairs,
    entailed: Bools,
    unlabelled: Pairs,
    thresholds: Sequence[float],
    alpha: float,
    delta: float,
    cuts: Sequence[float] = CUTS,
) -> tuple[float, float] | None:
    """The lowest threshold that passed a binary search, and its bound; None when none passed: do not deploy then.

    ``thresholds`` were fixed on other data. Every test has an even part of ``delta``. As in any such search the promise
    needs a risk that does not rise with the threshold (`gate.guarantees.selective_risk.certify_by_search`).
    """
    if entailed.shape != labelled.confidence.shape or entailed.dtype != np.bool_:
        raise ValueError("there must be a label, true or false, for each labelled pair")
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise ValueError(f"alpha and delta must be in (0, 1), got {alpha} and {delta}")
    ordered = sorted(set(thresholds))
    steps = max(1, math.ceil(math.log2(len(ordered) + 1)))
    passed, low, high = None, 0, len(ordered) - 1
    while low <= high:
        middle = (low + high) // 2
        few, many = labelled.above(ordered[middle]), unlabelled.above(ordered[middle])
        bound = entailment_bound(
            entailed[few], labelled.entailment[few], unlabelled.entailment[many], delta / steps, cuts
        )
        if bound <= alpha:
            passed, high = (ordered[middle], bound), middle - 1
        else:
            low = middle + 1
    return passed
