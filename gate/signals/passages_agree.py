"""Whether the passages that fit a question best say the same: where they do not, it can mean several things.

Two places of one name are told apart by nothing in the question: a passage on each fits it equally well, and only one
of the two holds the answer that was drafted. It takes passages beside those quoted to see that (``fetch`` of the
retrieve route).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.draft import Draft
from gate.evidence.meanings import answer_text, normalize
from gate.evidence.passages import Passages
from gate.evidence.question import Asked
from gate.evidence.words import STOP_WORDS, names, words
from gate.ports import Evidence, Fact, Missing
from gate.types import Passage

_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class PassagesAgree:
    """Share of the best fitting passages that hold the drafted answer; missing where none of them does.

    A passage fits by the words of the question that it holds, stop words aside, each counting one over the number of
    passages it stands in; one that lacks a name of the question fits none of it. Words are compared after normalising.
    """

    name = "passages_agree"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Asked, Passages)

    def measure(self, evidence: Evidence) -> float | Missing:
        draft, asked, passages = evidence.find(Draft), evidence.find(Asked), evidence.find(Passages)
        if draft is None or asked is None or passages is None:
            lacking = next(kind for kind in (Passages, Asked, Draft) if evidence.find(kind) is None)
            return Missing(evidence.missing.get(lacking, "passages, question and draft are not all among the evidence"))
        answer = answer_text(draft.generation)
        if not answer:
            return Missing("the draft says nothing")
        best = _best_fitting(asked.question.text, passages.fetched or passages.found)
        held = [f" {answer} " in text for text in best]
        if not any(held):
            return Missing("no passage that fits the question best holds the draft")
        return sum(held) / len(held)


def _best_fitting(question: str, passages: Iterable[Passage]) -> list[str]:
    """The normalised texts, each once, of the passages that fit a question as well as any."""
    texts = list(dict.fromkeys(f" {normalize(f'{passage.title} {passage.text}')} " for passage in passages))
    named = {normalize(word) for word in names(question)} - {""}
    sought = ({normalize(word) for word in words(question)} | named) - STOP_WORDS - {""}
    standing = {word: sum(f" {word} " in text for text in texts) for word in sought}
    fits = [
        sum(1 / standing[word] for word in sought if f" {word} " in text)
        if all(f" {name} " in text for name in named)
        else 0.0
        for text in texts
    ]
    most = max(fits, default=0.0)
    return [text for text, fit in zip(texts, fits, strict=True) if fit > 0 and fit >= most - _SAME]
