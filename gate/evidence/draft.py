"""The draft: the one answer on trial, with its token log-probabilities when the upstream gives them."""

from __future__ import annotations

from dataclasses import dataclass

from gate.errors import EvidenceUnavailable
from gate.ports import Evidence, Fact
from gate.types import Generation


@dataclass(frozen=True)
class Draft(Fact):
    generation: Generation
    model: str
    """The model's name as the upstream reports it; "" where the draft was made before its round was opened."""
    rivals: tuple[Generation, ...] = ()
    """What was drafted beside it, from the passages of other retrievers."""


def draft_of(evidence: Evidence) -> Draft:
    """The draft of this round, which the pipeline gathers before anything else."""
    draft = evidence.find(Draft)
    if draft is None:
        raise EvidenceUnavailable("there is no draft")
    return draft
