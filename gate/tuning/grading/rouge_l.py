"""ROUGE-L: how many words answer and reference share in the same order (Lin 2004)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.evidence.rouge import rouge_l
from gate.tuning.grading.grade import Grade
from gate.tuning.grading.token_f1 import overlapping
from gate.types import Question


class RougeLGrader(BaseModel, extra="forbid", frozen=True):
    """Right when the F1 of the longest common subsequence with the nearest reference is at least ``threshold``.

    At 0.3, which papers on semantic entropy use, labels are noisy: check a sample of them by hand.
    """

    name: ClassVar[str] = "rouge_l"
    threshold: float = Field(default=0.3, gt=0, le=1)

    def grade(self, question: Question, answer: str, references: Sequence[str]) -> Grade:
        return overlapping(answer, references, "ROUGE-L", rouge_l, self.threshold)
