"""Stated confidence in words: after the draft, one more turn asks for one word of a fixed scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow
from gate.evidence.asking import refused
from gate.evidence.draft import Draft
from gate.evidence.judging import DECLINED, follow_up
from gate.evidence.stated import level_in
from gate.ports import Evidence, Fact, Missing, Profile, Round, Uses


@dataclass(frozen=True)
class StatedLinguistic(Fact):
    confidence: float | Missing
    """One of the seven values of `gate.evidence.stated.LEVELS`, or why the reply names none."""


class StatedLinguisticSource(BaseModel, extra="forbid", frozen=True):
    """Asks for a word; its number comes from a fixed table (Tian et al., 2023). Only the reply is read, not the draft.

    ``upstream`` names another upstream to ask; it reads the conversation as if the draft were its own.
    """

    name: ClassVar[str] = "stated_linguistic"
    provides: ClassVar[type[Fact]] = StatedLinguistic
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    upstream: str | None = None
    max_tokens: int = Field(default=32, ge=1)

    @property
    def uses(self) -> Uses:
        return Uses(upstreams=(self.upstream,) if self.upstream else (), prompts=("stated_linguistic",))

    def calls(self, profile: Profile) -> int:
        return 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        reply = yield from follow_up(
            round_, evidence, "stated_linguistic", upstream=self.upstream, max_tokens=self.max_tokens
        )
        return StatedLinguistic(reply.cost, DECLINED if refused(reply.value) else level_in(reply.value.text))
