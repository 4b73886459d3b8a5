"""How well the passages fit: the best one's score, and whether they hold the answer that was drafted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.draft import Draft, draft_of
from gate.evidence.meanings import answer_text, normalize
from gate.evidence.passages import Passages
from gate.ports import Evidence, Fact, Missing


@dataclass(frozen=True, slots=True)
class PassageScore:
    """The best passage's score, on the retriever's own scale: low when nothing in the index is about the question."""

    name = "passage_score"
    bounds = (0.0, math.inf)
    needs: ClassVar[tuple[type[Fact], ...]] = (Passages,)

    def measure(self, evidence: Evidence) -> float | Missing:
        passages = evidence.find(Passages)
        if passages is None:
            return Missing(evidence.missing.get(Passages, "no passage is in the prompt"))
        return max(0.0, *(passage.score for passage in passages.found))


@dataclass(frozen=True, slots=True)
class AnswerInPassages:
    """Share of the passages that hold the drafted answer, word for word after normalising."""

    name = "answer_in_passages"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Passages)

    def measure(self, evidence: Evidence) -> float | Missing:
        passages = evidence.find(Passages)
        if passages is None:
            return Missing(evidence.missing.get(Passages, "no passage is in the prompt"))
        answer = answer_text(draft_of(evidence).generation)
        if not answer:
            return Missing("the draft says nothing")
        held = [f" {answer} " in f" {normalize(passage.text)} " for passage in passages.found]
        return sum(held) / len(held)
