"""How plainly a text states its answer: stated, hedged, or withheld with "I don't know" (ConfQA, Huang et al. 2025).

The phrases are those of `gate.evidence.hedging_phrases`. Each sentence of an answer is graded: 1 plain, 0.5 with one
hedge, 0.25 with several or with "I am not sure, but ...", 0 where it says that it does not know. An answer is the mean
of its sentences; it is 0 when its first sentence admits ignorance, or when any does and it has no more than three. Only
the first 1000 characters are looked at.
"""

from __future__ import annotations

from gate.evidence.hedging_phrases import BUT, HEDGES, NO_ANSWERS, UNKNOWING
from gate.evidence.phrases import spelled
from gate.evidence.words import sentences

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
