"""How well the passages fit: the best one's score, and whether they hold the answer that was drafted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.draft import Draft
from gate.evidence.meanings import answer_text, normalize
from gate.evidence.passages import Passages, holds
from gate.evidence.question import Asked
from gate.evidence.words import STOP_WORDS, names, words
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
class PassageMargin:
    """By how much the best passage's score is above the second's, as a share of it: low where several fit as well."""

    name = "passage_margin"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Passages,)

    def measure(self, evidence: Evidence) -> float | Missing:
        passages = evidence.find(Passages)
        if passages is None:
            return Missing(evidence.missing.get(Passages, "no passage is in the prompt"))
        found = passages.fetched or passages.found
        if len(found) < 2:
            return Missing("only one passage was found")
        best, second, *_ = sorted((passage.score for passage in found), reverse=True)
        if not best > 0:
            return Missing("no passage has a score above 0")
        return min(1.0, (best - max(0.0, second)) / best)


@dataclass(frozen=True, slots=True)
class QuestionInPassages:
    """Share of what is asked about that the best fitting passage holds: low where it is about something else.

    Looked for are the names and numbers of the question; without any, its words other than stop words.
    """

    name = "question_in_passages"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Asked, Passages)

    def measure(self, evidence: Evidence) -> float | Missing:
        asked, passages = evidence.find(Asked), evidence.find(Passages)
        if asked is None:
            return Missing(evidence.missing.get(Asked, "the question is not among the evidence"))
        if passages is None:
            return Missing(evidence.missing.get(Passages, "no passage is in the prompt"))
        text = asked.question.text
        sought = {normalize(word) for word in names(text)} or {normalize(word) for word in words(text)} - STOP_WORDS
        if not sought:
            return Missing("the question has no words to look for")
        return max(_share(sought, passage.text) for passage in passages.found)


def _share(sought: set[str], text: str) -> float:
    held = f" {normalize(text)} "
    return sum(f" {word} " in held for word in sought) / len(sought)


@dataclass(frozen=True, slots=True)
class AnswerInPassages:
    """Share of the passages that hold the drafted answer, word for word after normalising."""

    name = "answer_in_passages"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Passages)

    def measure(self, evidence: Evidence) -> float | Missing:
        draft, passages = evidence.find(Draft), evidence.find(Passages)
        if draft is None or passages is None:
            return Missing(evidence.missing.get(Passages, "no passage is in the prompt"))
        answer = answer_text(draft.generation)
        if not answer:
            return Missing("the draft says nothing")
        return sum(holds(passage, answer) for passage in passages.found) / len(passages.found)
