"""Passages: what the prompt of this round quotes, with the retriever's scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel

from gate.effects import Flow
from gate.errors import EvidenceUnavailable
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Passage


@dataclass(frozen=True)
class Passages(Fact):
    found: tuple[Passage, ...]
    """Best first; never empty."""


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
        return Passages(Cost(), round_.passages)
