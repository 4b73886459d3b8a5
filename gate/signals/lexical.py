"""Lexical similarity: how many words the answers share, in order, with no judge and no meaning involved.

Two answers are compared by ROUGE-L (Lin 2004). The mean over all pairs of samples is the lexical similarity of Kuhn et
al. 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.asking import refused
from gate.evidence.citations import said
from gate.evidence.draft import Draft
from gate.evidence.rouge import Words, mean_rouge, mean_rouge_to
from gate.evidence.samples import Samples, all_decline, draft_and_samples, spread
from gate.evidence.similarities import pieces
from gate.evidence.wordings import answer_text, normalize
from gate.ports import Evidence, Fact, Missing
from gate.types import Generation

_READ, _COMPARED = 10_000, 1_000
"""Characters and words of an answer that are looked at: a bound on work, far above most answers."""


@dataclass(frozen=True, slots=True)
class LexicalSimilarity:
    """Of the samples among themselves."""

    name = "lexical_similarity"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Samples,)

    def measure(self, evidence: Evidence) -> float | Missing:
        samples = evidence.find(Samples)
        if samples is None:
            return Missing(evidence.missing.get(Samples, "no samples were drawn"))
        if (why := spread(len(samples.generations), all_decline(samples.generations))) is not None:
            return why
        return mean_rouge([_words(generation) for generation in samples.generations])


@dataclass(frozen=True, slots=True)
class DraftLexicalSimilarity:
    """Of the draft to the samples: what the returned answer has to do with it."""

    name = "draft_lexical_similarity"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Samples)

    def measure(self, evidence: Evidence) -> float | Missing:
        found = draft_and_samples(evidence)
        if isinstance(found, Missing):
            return found
        draft, samples = found
        return mean_rouge_to(_words(draft), list(map(_words, samples)))


def _words(generation: Generation) -> Words:
    """None for a refusal, and one for tool calls: they are the same or have nothing in common."""
    if refused(generation):
        return ()
    if generation.tool_calls:
        return (answer_text(generation),)
    return tuple(pieces(normalize(said(generation)[:_READ]))[:_COMPARED])
