"""Hedging: whether an answer is stated plainly, hedged, or withheld with "I don't know" (ConfQA, Huang et al. 2025).

`gate.evidence.assurance` grades a text. What the model refused is 0 too: it states no answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.asking import refused
from gate.evidence.assurance import assurance
from gate.evidence.draft import Draft
from gate.evidence.samples import Samples
from gate.ports import Evidence, Fact, Missing, Signal
from gate.types import Generation


def _assured(generation: Generation) -> float | None:
    """None for a tool call without a word: it states nothing."""
    if refused(generation):
        return 0.0
    return assurance(generation.text) if generation.text.strip() else None


@dataclass(frozen=True, slots=True)
class DraftAssured:
    """1 where the draft states its answer plainly, lower where it hedges, 0 where it says that it does not know."""

    name = "draft_assured"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)

    def measure(self, evidence: Evidence) -> float | Missing:
        draft = evidence.find(Draft)
        if draft is None:
            return Missing(evidence.missing.get(Draft, "there is no draft"))
        value = _assured(draft.generation)
        return Missing("a tool call states nothing in words") if value is None else value


@dataclass(frozen=True, slots=True)
class SamplesAssured:
    """Share of the samples that are sure of what they say: the mean assurance of those that say something in words."""

    name = "samples_assured"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Samples,)

    def measure(self, evidence: Evidence) -> float | Missing:
        samples = evidence.find(Samples)
        if samples is None:
            return Missing(evidence.missing.get(Samples, "no samples were drawn"))
        values = [value for sample in samples.generations if (value := _assured(sample)) is not None]
        return sum(values) / len(values) if values else Missing("tool calls state nothing in words")


@dataclass(frozen=True, slots=True)
class DraftBrevity:
    """``-ln(1 + characters)`` of the draft: the plain length that other signals have to beat."""

    name = "draft_brevity"
    bounds = (-math.inf, 0.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)

    def measure(self, evidence: Evidence) -> float | Missing:
        draft = evidence.find(Draft)
        if draft is None:
            return Missing(evidence.missing.get(Draft, "there is no draft"))
        text = draft.generation.text.strip()
        return -math.log1p(len(text)) if text else Missing("the draft has no text")


HEDGING_SIGNALS: tuple[Signal, ...] = (DraftAssured(), SamplesAssured(), DraftBrevity())
