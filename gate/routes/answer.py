"""Answer: give the draft back as it is."""

from __future__ import annotations

from dataclasses import dataclass

from gate.effects import Flow
from gate.evidence.draft import draft_of
from gate.ports import Ending, Evidence, Round
from gate.types import Action, Decision


@dataclass(frozen=True, slots=True)
class AnswerRoute:
    action = Action.ANSWER

    def open(self, round_: Round) -> bool:
        return True

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        yield from ()
        generation = draft_of(evidence).generation
        return Ending(generation.text, generation)
