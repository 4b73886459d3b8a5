"""How well answers are kept and discarded: the metrics of RC-RAG (Chen et al. 2024).

A question counts as answerable where *this* answer to it was right, as unanswerable where it was wrong. Keeping the
right and discarding the wrong is what is wanted; each metric looks at one way to fail. None where it is of nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from gate.calibration.arrays import Labels, as_labels


@dataclass(frozen=True, slots=True)
class KeepOrDiscard:
    """Counts of answers."""

    right_kept: int
    right_discarded: int
    wrong_kept: int
    wrong_discarded: int

    @classmethod
    def of(cls, kept: Labels, correct: Labels) -> KeepOrDiscard:
        """From two sequences of equal length, of booleans or 0 and 1. Raises ValueError for others."""
        keeping, right = as_labels(kept), as_labels(correct)
        if keeping.shape != right.shape or keeping.ndim != 1:
            raise ValueError(f"kept and correct must be as long as each other, got {keeping.shape} and {right.shape}")
        return cls(
            right_kept=int((keeping & right).sum()),
            right_discarded=int((~keeping & right).sum()),
            wrong_kept=int((keeping & ~right).sum()),
            wrong_discarded=int((~keeping & ~right).sum()),
        )

    @property
    def total(self) -> int:
        return self.right_kept + self.right_discarded + self.wrong_kept + self.wrong_discarded

    @property
    def risk(self) -> float | None:
        """The share of the kept that are wrong."""
        return _share(self.wrong_kept, self.right_kept + self.wrong_kept)

    @property
    def carefulness(self) -> float | None:
        """The share of the wrong that are discarded."""
        return _share(self.wrong_discarded, self.wrong_kept + self.wrong_discarded)

    @property
    def alignment(self) -> float | None:
        """The share of all that are treated as is wanted."""
        return _share(self.right_kept + self.wrong_discarded, self.total)

    @property
    def coverage(self) -> float | None:
        """The share of all that are kept."""
        return _share(self.right_kept + self.wrong_kept, self.total)

    @property
    def overcaution(self) -> float | None:
        """The share of the discarded that were right."""
        return _share(self.right_discarded, self.right_discarded + self.wrong_discarded)

    @property
    def recall(self) -> float | None:
        """The share of the right that are kept."""
        return _share(self.right_kept, self.right_kept + self.right_discarded)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
