"""Comparing the draft with one more answer: whether they say the same, and how alike they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from gate.errors import EvidenceUnavailable
from gate.evidence.asking import refused
from gate.evidence.draft import draft_of
from gate.evidence.equivalence import alike
from gate.evidence.equivalence import likeness as text_likeness
from gate.evidence.meanings import answer_text
from gate.evidence.rouge import rouge_l_recall, token_f1
from gate.evidence.words import spaced_words
from gate.ports import Evidence, Fact
from gate.types import Generation

_SURVIVES = 0.7


@dataclass(frozen=True)
class OtherAnswer(Fact):
    """One more answer to the question, beside the draft."""

    generation: Generation
    same: bool
    """Whether it has the draft's meaning."""
    similarity: float
    """How alike it and the draft are word for word, in [0, 1]."""


class Comparison(BaseModel, extra="forbid", frozen=True):
    """The options of a source that compares answers with the draft.

    ``normalized``: equal after normalising.
    ``lexical``: the same, or a token-sort similarity of at least ``similarity`` (0..100).
    """

    judge: Literal["normalized", "lexical"] = "normalized"
    similarity: float = Field(default=85, ge=0, le=100)

    def same(self, one: Generation, other: Generation) -> bool:
        lexical = self.judge == "lexical" and not (one.tool_calls or other.tool_calls)
        texts = answer_text(one), answer_text(other)
        return texts[0] == texts[1] or (lexical and alike(*texts, self.similarity))


def likeness(one: Generation, other: Generation) -> float:
    """Token-sort similarity of two answers as they are compared, in [0, 1]; 0 between text and a tool call."""
    if bool(one.tool_calls) != bool(other.tool_calls):
        return 0.0
    texts = answer_text(one), answer_text(other)
    if texts[0] == texts[1]:
        return 1.0
    return text_likeness(*texts) / 100


def survives(answer: Generation, again: Generation) -> bool:
    """Whether an answer was given again, by the rule of RC-RAG (Chen et al. 2024).

    They are equal after normalising, or the second holds the first word for word, or their token F1 or the ROUGE-L
    recall of the first is above 0.7. Looser than `Comparison.same`: a second turn says more around its answer.
    """
    one, other = answer_text(answer), answer_text(again)
    if not one or not other:
        return one == other
    if one == other or f" {one} " in f" {other} ":
        return True
    wanted, said = spaced_words(one), spaced_words(other)
    return token_f1(wanted, said) > _SURVIVES or rouge_l_recall(wanted, said) > _SURVIVES


def draft_to_compare(evidence: Evidence) -> Generation:
    """The draft, if it says anything. Raises `EvidenceUnavailable` before a call is spent on one that does not."""
    draft = draft_of(evidence).generation
    if refused(draft):
        raise EvidenceUnavailable("the draft says nothing to compare with")
    return draft
