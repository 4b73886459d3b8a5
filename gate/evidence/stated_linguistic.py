"""Stated confidence in words: after the draft, one more turn asks for one word of a fixed scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gate.effects import Flow
from gate.evidence.asking import refused
from gate.evidence.judging import DECLINED, FollowUp
from gate.evidence.stated import level_in
from gate.ports import Evidence, Fact, Missing, Round


@dataclass(frozen=True)
class StatedLinguistic(Fact):
    confidence: float | Missing
    """One of the seven values of `gate.evidence.stated.LEVELS`, or why the reply names none."""


class StatedLinguisticSource(FollowUp, frozen=True):
    """Asks for a word; its number comes from a fixed table (Tian et al., 2023). Only the reply is read."""

    name: ClassVar[str] = "stated_linguistic"
    provides: ClassVar[type[Fact]] = StatedLinguistic

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        reply = yield from self.asked(round_, evidence)
        return StatedLinguistic(reply.cost, DECLINED if refused(reply.value) else level_in(reply.value.text))
