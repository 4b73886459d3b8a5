"""Stated confidence, in two stages: after the draft, one more turn asks how likely it is right, as a percentage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow
from gate.evidence.asking import refused
from gate.evidence.draft import Draft, draft_of
from gate.evidence.judging import DECLINED, follow_up, shown
from gate.evidence.stated import confidence_in
from gate.ports import Evidence, Fact, Missing, Profile, Round, Uses


@dataclass(frozen=True)
class StatedTwoStage(Fact):
    confidence: float | Missing
    """In [0, 1], or why the reply states none."""


class StatedTwoStageSource(BaseModel, extra="forbid", frozen=True):
    """Asks for a number from 0 to 100 (Tian et al., 2023; Xiong et al., 2024). Only the reply is read, never the draft.

    ``upstream`` names another upstream to ask; it reads the conversation as if the draft were its own.
    """

    name: ClassVar[str] = "stated_two_stage"
    provides: ClassVar[type[Fact]] = StatedTwoStage
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    upstream: str | None = None
    max_tokens: int = Field(default=32, ge=1)

    @property
    def uses(self) -> Uses:
        return Uses(upstreams=(self.upstream,) if self.upstream else (), prompts=("stated_two_stage",))

    def calls(self, profile: Profile) -> int:
        return 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        reply = yield from follow_up(
            round_, evidence, "stated_two_stage", upstream=self.upstream, max_tokens=self.max_tokens
        )
        if refused(reply.value):
            return StatedTwoStage(reply.cost, DECLINED)
        draft = shown(draft_of(evidence).generation)
        return StatedTwoStage(reply.cost, confidence_in(reply.value.text, answer=draft))
