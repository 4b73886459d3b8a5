"""Escalate: ask the next upstream of the ladder, or the one the rule chose, the question as it came.

What was found for the upstream before it did not settle the question: passages that are about something else mislead
a stronger model more than they help it. It may retrieve in its turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from gate.effects import Flow
from gate.errors import EvidenceUnavailable
from gate.ports import Ending, Evidence, Profile, Round
from gate.types import Action, Cost, Decision


@dataclass(frozen=True, slots=True)
class EscalateRoute:
    ladder: tuple[str, ...]
    """Upstream names, from the first asked to the strongest."""
    profiles: Mapping[str, Profile]
    action = Action.ESCALATE

    def open(self, round_: Round) -> bool:
        return round_.upstream != self.ladder[-1]

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        yield from ()
        further = self.ladder[self.ladder.index(round_.upstream) + 1 :]
        name = decision.target or further[0]
        if name not in further:
            raise EvidenceUnavailable(f"the ladder does not lead from {round_.upstream!r} to {name!r}")
        return dataclasses.replace(
            round_,
            number=round_.number + 1,
            upstream=name,
            profile=self.profiles[name],
            messages=round_.question.messages,
            passages=(),
            found=round_.passages or round_.found,
            prompt=None,
            closed_book=None,
            drafted=None,
            rivals=(),
            cost=Cost(),
        )
