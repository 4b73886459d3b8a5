"""Rephrasings: what a question may mean, spelt out several times, as vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Embed, Flow, embed
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.answer_vectors import of_one_length
from gate.evidence.rewriting import rewritings
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Vector

_PROMPT = "readings"


@dataclass(frozen=True)
class Rephrasings(Fact):
    texts: tuple[str, ...]
    """The readings of the question; at least two."""
    vectors: tuple[Vector, ...]
    """Of the question itself, then of each reading: unit vectors."""


class RephrasingsSource(BaseModel, extra="forbid", frozen=True):
    """Asks once for ``n`` readings of the last user message and embeds them. The answer plays no part."""

    name: ClassVar[str] = "rephrasings"
    provides: ClassVar[type[Fact]] = Rephrasings
    needs: ClassVar[tuple[type[Fact], ...]] = ()
    n: int = Field(default=8, ge=2, le=32)
    temperature: float = Field(default=0.7, ge=0, le=2)
    seed: int | None = None
    embedder: str = "hashed"
    """The name of an embedder of the policy."""

    @property
    def uses(self) -> Uses:
        return Uses(embedders=(self.embedder,), prompts=(_PROMPT,))

    def calls(self, profile: Profile) -> int:
        return 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        text = round_.question.text
        versions, cost = yield from rewritings(
            round_, _PROMPT, text, self.n, temperature=self.temperature, seed=self.seed
        )
        try:
            reply = yield from embed(Embed(self.embedder, (text, *versions)))
        except UpstreamError as error:  # the call that was made before counts all the same
            raise EvidenceUnavailable(str(error), cost + (error.cost or Cost())) from error
        rows, cost = reply.value.rows, cost + reply.cost
        if not of_one_length(rows):
            reason = f"the embedder {self.embedder!r} gave no vector of one length for each text"
            raise EvidenceUnavailable(reason, cost)
        return Rephrasings(cost, versions, rows)
