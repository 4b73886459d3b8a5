"""Agreement: how many samples say what the draft says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.meanings import Meanings
from gate.ports import Evidence, Fact, Missing


@dataclass(frozen=True, slots=True)
class VoteShare:
    """Share of the samples whose meaning is the draft's: of the *returned* answer, not of the most frequent one."""

    name = "vote_share"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Meanings,)

    def measure(self, evidence: Evidence) -> float | Missing:
        meanings = evidence.find(Meanings)
        if meanings is None:
            return Missing(evidence.missing.get(Meanings, "no samples were drawn"))
        return sum(label == meanings.draft for label in meanings.samples) / len(meanings.samples)
