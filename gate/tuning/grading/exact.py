"""Exact match, up to case, width, punctuation, articles and spacing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel

from gate.evidence.meanings import normalize
from gate.tuning.grading.grade import Grade, settled, written
from gate.types import Question


class ExactGrader(BaseModel, extra="forbid", frozen=True):
    """Right when the answer equals one of the references after `gate.evidence.meanings.normalize`.

    Accents tell words apart, and so do marks inside numbers: give each spelling as a reference of its own.
    """

    name: ClassVar[str] = "exact"

    def grade(self, question: Question, answer: str, references: Sequence[str]) -> Grade:
        if (grade := settled(answer, references)) is not None:
            return grade
        same = normalize(answer) in {normalize(reference) for reference in written(references)}
        return Grade(same, None, "equals a reference" if same else "equals none of the references")
