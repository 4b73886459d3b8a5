"""Hedging: whether an answer is stated plainly, hedged, or withheld with "I don't know" (ConfQA, Huang et al. 2025).

The phrases are those of `gate.signals.hedging_phrases`. Each sentence of an answer is graded: 1 plain, 0.5 with one
hedge, 0.25 with several or with "I am not sure, but ...", 0 where it says that it does not know. An answer is the mean
of its sentences; it is 0 when its first sentence admits ignorance, or when any does and it has no more than three. What
the model refused is 0 too: it states no answer. Only the first 1000 characters are looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.asking import refused
from gate.evidence.draft import Draft
from gate.evidence.phrases import spelled
from gate.evidence.samples import Samples
from gate.evidence.words import sentences
from gate.ports import Evidence, Fact, Missing, Signal
from gate.signals.hedging_phrases import BUT, HEDGES, NO_ANSWERS, UNKNOWING
from gate.types import Generation

_SEEN = 1000
_SHORT = 3
"""Sentences of an answer that is nothing but its "I do not know"."""


def assurance(text: str) -> float:
    """How plainly a text states its answer, in [0, 1]; 1 for a text without any of the phrases."""
    seen = text[:_SEEN]
    whole = spelled(seen)
    if whole.strip() in NO_ANSWERS:
        return 0.0
    if not (UNKNOWING.within(whole) or HEDGES.within(whole)):
        return 1.0
    grades = [_grade(spelled(sentence)) for sentence in sentences(seen)] or [_grade(whole)]
    if grades[0] == 0.0 or (len(grades) <= _SHORT and 0.0 in grades):
        return 0.0
    return sum(grades) / len(grades)


def _grade(sentence: str) -> float:
    if UNKNOWING.within(sentence):
        return 0.25 if BUT.within(sentence) else 0.0
    return (1.0, 0.5, 0.25)[min(2, HEDGES.count(sentence))]


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
