"""The question itself, as evidence: for signals that look at what was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel

from gate.effects import Flow
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Question


@dataclass(frozen=True)
class Asked(Fact):
    question: Question


class QuestionSource(BaseModel, extra="forbid", frozen=True):
    """Needs no call."""

    name: ClassVar[str] = "question"
    provides: ClassVar[type[Fact]] = Asked
    needs: ClassVar[tuple[type[Fact], ...]] = ()
    uses: ClassVar[Uses] = Uses()

    def calls(self, profile: Profile) -> int:
        return 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        yield from ()
        return Asked(Cost(), round_.question)
