"""Memory beside passages: how sure the upstream was of what it says without them, whether they hold it, and which of
the two answers it holds right itself.

Whether memory agrees with the draft is told in `gate.signals.second_opinion`. The first two speak for the answer from
memory: beside one that differs they count for the stage that has memory on trial, beside one that agrees for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.arbitration import Arbitration
from gate.evidence.asking import refused
from gate.evidence.closed_book import ClosedBook
from gate.evidence.log_probabilities import no_number
from gate.evidence.passages import Passages, holds
from gate.evidence.wordings import answer_text
from gate.ports import Evidence, Fact, Missing
from gate.signals.token import logprob_sum

_NOBODY_ASKED = "memory was not asked"


@dataclass(frozen=True, slots=True)
class ClosedBookLogprob:
    """ln P(answer from memory): the sum of its tokens' log-probabilities."""

    name = "closed_book_logprob"
    bounds = (-math.inf, 0.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (ClosedBook,)

    def measure(self, evidence: Evidence) -> float | Missing:
        memory = evidence.find(ClosedBook)
        if memory is None:
            return Missing(evidence.missing.get(ClosedBook, _NOBODY_ASKED))
        tokens = memory.generation.tokens
        if refused(memory.generation):
            return Missing("the other answer is a refusal")
        if not tokens:
            return Missing("the upstream gave no log-probabilities")
        return no_number(tokens) or logprob_sum(tokens)


@dataclass(frozen=True, slots=True)
class ClosedBookInPassages:
    """Share of the passages that hold what memory said, word for word after normalising."""

    name = "closed_book_in_passages"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (ClosedBook, Passages)

    def measure(self, evidence: Evidence) -> float | Missing:
        memory, passages = evidence.find(ClosedBook), evidence.find(Passages)
        if memory is None:
            return Missing(evidence.missing.get(ClosedBook, _NOBODY_ASKED))
        if passages is None:
            return Missing(evidence.missing.get(Passages, "no passage is in the prompt"))
        if refused(memory.generation):
            return Missing("the other answer is a refusal")
        answer = answer_text(memory.generation)
        return sum(holds(passage, answer) for passage in passages.found) / len(passages.found)


@dataclass(frozen=True, slots=True)
class ArbitrationForDraft:
    """1 where the judge holds the draft right, 0 where it is memory's answer, and half where it is neither."""

    name = "arbitration_for_draft"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Arbitration,)

    def measure(self, evidence: Evidence) -> float | Missing:
        fact = evidence.find(Arbitration)
        if fact is None:
            return Missing(evidence.missing.get(Arbitration, "nobody was asked which answer is right"))
        return {"draft": 1.0, "neither": 0.5, "memory": 0.0}[fact.choice]


CLOSED_BOOK_SIGNALS = (ClosedBookLogprob(), ClosedBookInPassages(), ArbitrationForDraft())
