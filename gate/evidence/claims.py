"""Claims: a draft parted into statements that can be held, one by one, against passages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gate.evidence.citations import said
from gate.evidence.wordings import normalize
from gate.evidence.words import STOP_WORDS, sentences, spaced_words, words
from gate.types import Generation

_BULLET = re.compile(r"^\s*(?:[-*\u2022]\s+|\(?\d{1,2}[.):]\s+)")
_SHORT = 8
"""Words up to which an answer of one sentence says something only beside its question."""


@dataclass(frozen=True, slots=True)
class Claim:
    text: str
    asked: str = ""
    """The question that a short answer completes; "" where the claim says all itself."""

    @property
    def whole(self) -> str:
        return f"{self.asked} {self.text}" if self.asked else self.text


def claims_of(question: str, generation: Generation, most: int) -> tuple[Claim, ...]:
    """The sentences and list items of an answer, the first ``most``; a short answer is one claim with its question."""
    text = said(generation)
    if len(words(text)) <= _SHORT and len(sentences(text)) <= 1:
        return (Claim(text.strip(), question.strip()),) if words(text) else ()
    found = (sentence for line in text.splitlines() for sentence in sentences(_BULLET.sub("", line)))
    return tuple(Claim(sentence) for sentence in found if words(sentence))[:most]


def support_in_words(claim: Claim, passages: Sequence[frozenset[str]]) -> float:
    """The share of a claim's content words, names and numbers that the best of the passages holds, in [0, 1].

    ``passages`` are their words: see `vocabulary`. The words of a short answer count as much as those of its question.
    """
    parts = [part for part in (_content(claim.text), _content(claim.asked)) if part]
    if not parts:
        return 0.0
    return max((sum(len(part & held) / len(part) for part in parts) / len(parts) for held in passages), default=0.0)


def vocabulary(text: str) -> frozenset[str]:
    """The words of a text, in the form answers are compared in."""
    return frozenset(word for piece in sentences(text) for word in spaced_words(normalize(piece)))


def _content(text: str) -> frozenset[str]:
    held = vocabulary(text)
    return held - STOP_WORDS or held


def numbered(claims: Iterable[Claim]) -> str:
    """The claims as a prompt lists them, one a line."""
    return "\n".join(f"{number}. {' '.join(claim.whole.split())}" for number, claim in enumerate(claims, 1))
