"""What a threshold does: how much is answered, how much of that is wrong, and what abstaining cost and saved.

"Right" is said of the draft, also of one that is not let through, so both kinds of mistake can be counted: a wrong
answer let through and a right one held back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gate.calibration.arrays import Labels, Numbers, checked, shares


@dataclass(frozen=True, slots=True)
class Selection:
    """Drafts by whether they were right and whether they were answered; counts, or weights where those are given.

    Every share is None when it is one of nothing. The names of risk, carefulness, alignment and coverage are those of
    Chen et al. 2024 (controlling risk of retrieval-augmented generation by counterfactual prompting).
    """

    right_answered: float
    right_abstained: float
    wrong_answered: float
    wrong_abstained: float

    @property
    def answered(self) -> float:
        return self.right_answered + self.wrong_answered

    @property
    def total(self) -> float:
        return self.answered + self.right_abstained + self.wrong_abstained

    @property
    def coverage(self) -> float | None:
        """The share answered."""
        return _share(self.answered, self.total)

    @property
    def risk(self) -> float | None:
        """The error rate among the answered."""
        return _share(self.wrong_answered, self.answered)

    @property
    def alignment(self) -> float | None:
        """The share of all drafts that were dealt with rightly."""
        return _share(self.right_answered + self.wrong_abstained, self.total)

    @property
    def carefulness(self) -> float | None:
        """The share of wrong drafts that were held back."""
        return _share(self.wrong_abstained, self.wrong_answered + self.wrong_abstained)

    @property
    def overcaution(self) -> float | None:
        """The share of those held back that were right."""
        return _share(self.right_abstained, self.right_abstained + self.wrong_abstained)

    @property
    def recall(self) -> float | None:
        """The share of right drafts that were answered."""
        return _share(self.right_answered, self.right_answered + self.right_abstained)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of the accuracy among the answered and right answers over ALL questions (Wei et al. 2024)."""
        return _share(2 * self.right_answered, self.answered + self.total) if self.answered else None

    @property
    def f1_over_answerable(self) -> float | None:
        """The other reading: the same with `recall`, right answers over those questions that had a right draft."""
        right = self.right_answered + self.right_abstained
        return _share(2 * self.right_answered, self.answered + right) if self.answered and right else None


def select(confidence: Numbers, correct: Labels, threshold: float, *, weights: Numbers | None = None) -> Selection:
    """What answering at this threshold and above does.

    ``weights`` as in `gate.calibration.arrays.shares`; the selection then holds shares of the whole instead of counts.
    """
    score, right = checked(confidence, correct)
    weight = np.ones(len(score)) if weights is None else shares(weights, len(score))
    through = score >= threshold
    kinds = (right & through, right & ~through, ~right & through, ~right & ~through)
    return Selection(*(float(weight[kind].sum()) for kind in kinds))


@dataclass(frozen=True, slots=True)
class AtRisk:
    """The lowest threshold at which no more than a given share of the answered was wrong."""

    threshold: float
    coverage: float
    answered: int
    errors: int
    """State the upper bound that these two give beside the coverage: it was chosen because it looked good."""


def coverage_at_risk(confidence: Numbers, correct: Labels, risk: float) -> AtRisk | None:
    """The most that can be answered with an observed selective risk of at most ``risk``; None when nothing can.

    The curve is not monotone: this is the largest coverage that does, not the one before the first that does not.
    Answers of equal confidence are let through together.
    """
    if not 0 <= risk <= 1:
        raise ValueError(f"risk must be in [0, 1], got {risk}")
    score, right = checked(confidence, correct)
    values, group, sizes = np.unique(-score, return_inverse=True, return_counts=True)
    answered, errors = np.cumsum(sizes), np.cumsum(np.bincount(group, weights=~right, minlength=len(sizes)))
    kept = np.flatnonzero(errors <= risk * answered + 1e-9)
    if not len(kept):
        return None
    last = kept[-1]
    return AtRisk(-float(values[last]), float(answered[last] / len(score)), int(answered[last]), int(errors[last]))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
