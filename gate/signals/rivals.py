"""Rivals: whether drafts from the passages of other retrievers say what the draft says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.asking import refused
from gate.evidence.draft import Draft
from gate.evidence.wordings import answer_text
from gate.ports import Evidence, Fact, Missing


@dataclass(frozen=True, slots=True)
class RivalAgreement:
    """The share of the other retrievers' answers that say the same after normalising; refusals are left out."""

    name = "rival_agreement"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)

    def measure(self, evidence: Evidence) -> float | Missing:
        draft = evidence.find(Draft)
        if draft is None:
            return Missing(evidence.missing.get(Draft, "there is no draft"))
        said = [answer_text(rival) for rival in draft.rivals if not refused(rival)]
        if not said:
            return Missing("no other retriever's passages led to an answer")
        if refused(draft.generation):
            return Missing("the draft says nothing")
        return said.count(answer_text(draft.generation)) / len(said)
