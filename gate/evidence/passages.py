"""Passages: what the prompt of this round quotes, with the retriever's scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel

from gate.effects import Flow
from gate.errors import EvidenceUnavailable
from gate.evidence.citations import numbers
from gate.evidence.wordings import answer_text, normalize
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Generation, Passage


@dataclass(frozen=True)
class Passages(Fact):
    found: tuple[Passage, ...]
    """Best first; never empty."""
    fetched: tuple[Passage, ...] = ()
    """All that the search found, these among them; empty where that is not known."""


def bearing(generation: Generation, passages: tuple[Passage, ...]) -> tuple[str, ...]:
    """The ids of the passages that bear an answer: those it cites, else those that hold it word for word.

    Numbers that name no passage are passed over.
    """
    cited = numbers(generation.text) if generation.cites else ()
    named = [passages[number - 1] for number in cited if 0 < number <= len(passages)]
    if not named:
        named = [passage for passage in passages if holds(passage, answer_text(generation))]
    return tuple(dict.fromkeys(passage.id for passage in named))


def holds(passage: Passage, answer: str) -> bool:
    """Whether a passage holds an answer, word for word in the form answers are compared in; none holds nothing."""
    return bool(answer) and f" {answer} " in f" {normalize(passage.text)} "


class PassagesSource(BaseModel, extra="forbid", frozen=True):
    """Needs no call: retrieving them was the route's work."""

    name: ClassVar[str] = "passages"
    provides: ClassVar[type[Fact]] = Passages
    needs: ClassVar[tuple[type[Fact], ...]] = ()
    uses: ClassVar[Uses] = Uses()

    def calls(self, profile: Profile) -> int:
        return 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        yield from ()
        if not round_.passages:
            raise EvidenceUnavailable("no passage is in the prompt")
        return Passages(Cost(), round_.passages, round_.fetched)
