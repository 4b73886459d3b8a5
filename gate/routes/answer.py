"""Answer: give the draft back as it is, with the passages behind it; or what memory said, which has none."""

from __future__ import annotations

from dataclasses import dataclass

from gate.effects import Flow
from gate.evidence.closed_book import memory_of
from gate.evidence.draft import draft_of
from gate.evidence.passages import bearing
from gate.ports import Ending, Evidence, Round
from gate.types import Action, Decision


@dataclass(frozen=True, slots=True)
class AnswerRoute:
    action = Action.ANSWER

    def open(self, round_: Round) -> bool:
        return True

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        yield from ()
        if decision.stage.memory and (memory := memory_of(evidence)) is not None:
            return Ending(memory.text, memory)
        generation = draft_of(evidence).generation
        return Ending(generation.text, generation, round_.passages, bearing(generation, round_.passages))
