"""Token F1: how many words answer and reference share (SQuAD; Rajpurkar et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.evidence.meanings import normalize
from gate.evidence.rouge import token_f1
from gate.evidence.words import spaced_words
from gate.tuning.grading.grade import Grade, settled, written
from gate.types import Question


class TokenF1Grader(BaseModel, extra="forbid", frozen=True):
    """Right when the F1 with the nearest reference is at least ``threshold``. Of each text the first 1000 words count.

    Negation is one word like any other: "not Paris" and "Paris" share two thirds.
    """

    name: ClassVar[str] = "token_f1"
    threshold: float = Field(default=0.5, gt=0, le=1)

    def grade(self, question: Question, answer: str, references: Sequence[str]) -> Grade:
        return overlapping(answer, references, "F1", token_f1, self.threshold)


def overlapping(
    answer: str,
    references: Sequence[str],
    name: str,
    overlap: Callable[[Sequence[str], Sequence[str]], float],
    threshold: float,
) -> Grade:
    """Right when the words of an answer overlap with those of the nearest reference by at least ``threshold``."""
    if (grade := settled(answer, references)) is not None:
        return grade
    said = words_of(answer)
    best = max(overlap(said, words_of(reference)) for reference in written(references))
    return Grade(best >= threshold, best, f"{name} {best:.2f} with the nearest reference")


def words_of(text: str) -> tuple[str, ...]:
    return spaced_words(normalize(text))
