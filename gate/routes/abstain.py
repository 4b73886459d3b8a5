"""Abstain: decline to answer, in the policy's words."""

from __future__ import annotations

from dataclasses import dataclass

from gate.effects import Flow
from gate.ports import Ending, Evidence, Round
from gate.types import Action, Decision


@dataclass(frozen=True, slots=True)
class AbstainRoute:
    message: str
    action = Action.ABSTAIN

    def open(self, round_: Round) -> bool:
        return True

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        yield from ()
        return Ending(self.message)
