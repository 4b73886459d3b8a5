"""Stated guesses: the upstream's best guesses at the answer, each with the probability it states for it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.draft import Draft
from gate.evidence.judging import answered, asked_as, put
from gate.evidence.meanings import answer_text, normalize
from gate.evidence.stated import confidence_in
from gate.ports import Evidence, Fact, Missing, Profile, Round, Uses

_LONGEST_LINE = 400
_NUMBERING = re.compile(r"(?i)^[\s*\u2022>#]*(?:-\s+)?(?:\d{1,2}[.):]\s+|(?:guess|answer|g)\s*\d*\s*[:.)]\s*)?[\s*]*")
_UNBARRED = re.compile(
    r"(?P<guess>.*?\S)\s*[:=(\[,\u2013\u2014\s-]\s*(?P<chance>\d{1,3}(?:[.,]\d+)?\s*%|0?[.,]\d+)[\W_]*"
)


@dataclass(frozen=True)
class StatedTopK(Fact):
    draft: str
    """The draft, as `normalize` leaves it."""
    guesses: tuple[tuple[str, float], ...]
    """Normalised guesses with their stated probabilities, as they came; equal guesses are one. May be empty."""


class StatedTopKSource(BaseModel, extra="forbid", frozen=True):
    """Asks for ``k`` guesses with probabilities in one call (Tian et al., 2023). Probabilities are kept as stated.

    ``upstream`` names another upstream to ask. A tool call is no answer in words: then it is unavailable.
    """

    name: ClassVar[str] = "stated_top_k"
    provides: ClassVar[type[Fact]] = StatedTopK
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    k: int = Field(default=4, ge=2, le=20)
    upstream: str | None = None
    max_tokens: int = Field(default=256, ge=1)

    @property
    def uses(self) -> Uses:
        return Uses(upstreams=(self.upstream,) if self.upstream else (), prompts=("stated_top_k",))

    def calls(self, profile: Profile) -> int:
        return 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        draft = answered(evidence)
        if draft.tool_calls:
            raise EvidenceUnavailable("the draft is a tool call, not an answer in words")
        messages = asked_as(round_.messages, "stated_top_k", k=str(self.k))
        reply = yield from generate(put(round_, messages, upstream=self.upstream, max_tokens=self.max_tokens))
        return StatedTopK(reply.cost, answer_text(draft), guesses_in(reply.value.choices[0].text))


def guesses_in(reply: str) -> tuple[tuple[str, float], ...]:
    """The guesses of a reply, a line each: ``guess | 60%``, a table's row, ``1. guess (60%)``, ``guess: 0.6``."""
    found: dict[str, float] = {}
    for raw in reply.splitlines():
        line = unicodedata.normalize("NFKC", raw[:_LONGEST_LINE]).strip().strip("|").strip()
        guess, bar, stated = line.rpartition("|")
        if not bar:
            parted = _UNBARRED.fullmatch(line)
            if parted is None:
                continue
            guess, stated = parted["guess"], parted["chance"]
        chance = confidence_in(stated)
        key = normalize(_NUMBERING.sub("", guess.rpartition("|")[2]))
        if key and not isinstance(chance, Missing):
            found[key] = min(1.0, found.get(key, 0.0) + chance)
    return tuple(found.items())
