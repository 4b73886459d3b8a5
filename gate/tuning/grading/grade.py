"""Grades: whether an answer is right, as far as a grader can tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from gate.evidence.assurance import assurance
from gate.types import Question

_APOLOGY = re.compile(
    r"^\W*(?:i['\u2019]?m |i am )?(?:very |so |really )?(?:sorry|afraid|i apologi[sz]e)\b[,.]?\s*(?:but\b)?",
    re.IGNORECASE,
)
"""Its "but" is followed by no answer."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A verdict on one answer, with its reason."""

    correct: bool | None
    """None where the grader cannot tell: then somebody else has to, and nothing may be counted."""
    score: float | None
    """What was held against the grader's threshold, in [0, 1], where it has one."""
    reason: str


class Grader(Protocol):
    """Compares an answer with the references, asking nobody. Pure."""

    name: ClassVar[str]

    def grade(self, question: Question, answer: str, references: Sequence[str]) -> Grade: ...


def settled(answer: str, references: Sequence[str]) -> Grade | None:
    """The grade where there is nothing to compare; None where there is."""
    if not written(references):
        return Grade(None, None, "there is no reference answer")
    if not answer.strip():
        return Grade(False, None, "the answer is empty")
    return None


def written(references: Sequence[str]) -> tuple[str, ...]:
    """The references that say something."""
    return tuple(reference for reference in references if reference.strip())


def declines(answer: str) -> bool:
    """Whether an answer says that it gives none ("I don't know"), in one of the ten languages gate has phrases of."""
    return assurance(_APOLOGY.sub("", answer)) == 0.0
