"""Stated confidence, in two stages: after the draft, one more turn asks how likely it is right, as a percentage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gate.effects import Flow
from gate.evidence.asking import refused
from gate.evidence.draft import draft_of
from gate.evidence.judging import DECLINED, FollowUp, shown
from gate.evidence.stated import confidence_in
from gate.ports import Evidence, Fact, Missing, Round


@dataclass(frozen=True)
class StatedTwoStage(Fact):
    confidence: float | Missing
    """In [0, 1], or why the reply states none."""


class StatedTwoStageSource(FollowUp, frozen=True):
    """Asks for a number from 0 to 100 (Tian et al., 2023; Xiong et al., 2024). Only the reply is read."""

    name: ClassVar[str] = "stated_two_stage"
    provides: ClassVar[type[Fact]] = StatedTwoStage

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        reply = yield from self.asked(round_, evidence)
        if refused(reply.value):
            return StatedTwoStage(reply.cost, DECLINED)
        draft = shown(draft_of(evidence).generation)
        return StatedTwoStage(reply.cost, confidence_in(reply.value.text, answer=draft))
