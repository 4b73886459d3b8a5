"""The draft: the one answer on trial, with its token log-probabilities when the upstream gives them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow, ReadStates, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import request
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Generation


@dataclass(frozen=True)
class Draft(Fact):
    generation: Generation
    model: str
    """The model's name as the upstream reports it."""


class DraftSource(BaseModel, extra="forbid", frozen=True):
    """Asks once. The caller's temperature is kept; without one the draft is greedy, so that it repeats."""

    name: ClassVar[str] = "draft"
    provides: ClassVar[type[Fact]] = Draft
    needs: ClassVar[tuple[type[Fact], ...]] = ()
    uses: ClassVar[Uses] = Uses()
    alternatives: int = Field(default=5, ge=0, le=20)
    """How many of the likeliest tokens to ask for at each place."""
    states: bool = False
    """Whether to read inside the model, where its upstream can: set where the tiers hold ``hidden_states``."""

    def calls(self, profile: Profile) -> int:
        return 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        options = round_.question.options
        asked = options.get("temperature")
        effect = request(
            round_,
            n=1,
            temperature=0.0 if asked is None else asked,
            seed=options.get("seed"),
            alternatives=self.alternatives,
        )
        if self.states and round_.profile.states:
            effect = replace(effect, states=ReadStates(tuple(passage.text for passage in round_.passages)))
        reply = yield from generate(effect)
        return Draft(reply.cost, reply.value.choices[0], reply.value.model)


def draft_of(evidence: Evidence) -> Draft:
    """The draft of this round, which the pipeline gathers before anything else."""
    draft = evidence.find(Draft)
    if draft is None:
        raise EvidenceUnavailable("there is no draft")
    return draft
