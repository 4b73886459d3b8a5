"""Labelled questions: what a policy is tuned on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gate.types import Question

Split = Literal["", "fit", "certify", "test"]


@dataclass(frozen=True, slots=True)
class Example:
    """A question with the answers that would be right."""

    id: str
    """Unique in its file."""
    question: Question
    references: tuple[str, ...] = ()
    """Answers that count as right; empty where somebody else has to judge."""
    segment: str = ""
    """The part of the traffic it stands for; reports and certificates can be had for each."""
    split: Split = ""
    """What it may be used for; chosen by gate where it is empty."""
