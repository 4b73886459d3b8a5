"""Run a question through every stage of a policy, whatever the rule would say, and keep the replies.

From one such trace any policy over the same stages can be judged by replay: the very pipeline that serves requests is
run on the recorded replies, with no call.
"""

from __future__ import annotations

from dataclasses import dataclass

from gate.effects import Flow
from gate.errors import EvidenceUnavailable
from gate.evidence.draft import draft_of
from gate.pipeline import Plan, Standing, enter, gather
from gate.ports import Ending, Evidence, Round
from gate.types import Action, Decision, Question, SignalVector, Stage


@dataclass(frozen=True, slots=True)
class Seen:
    """What a stage saw of a question: its signals, and the draft it would have let through."""

    stage: Stage
    vector: SignalVector
    draft: str


def full_evidence(plan: Plan, question: Question) -> Flow[tuple[Seen, ...]]:
    """Every stage of the plan: each upstream of the ladder, closed book and with passages, tier after tier."""
    seen: list[Seen] = []
    closed: Round | None = plan.opening(question)
    while closed is not None:
        evidence = yield from _tiers(plan, closed, seen)
        reading = yield from _open(plan, closed, evidence, Action.RETRIEVE)
        if reading is not None:
            yield from _tiers(plan, reading, seen)
        closed = yield from _open(plan, closed, evidence, Action.ESCALATE)
    return tuple(seen)


def _tiers(plan: Plan, round_: Round, seen: list[Seen]) -> Flow[Evidence]:
    standing: Standing = yield from enter(plan, round_)
    for tier in range(len(plan.tiers)):
        if tier:
            standing = yield from gather(plan, round_, tier, standing.evidence)
        draft = draft_of(standing.evidence).generation.text
        seen.append(Seen(round_.stage(tier), standing.vector, draft))
    return standing.evidence


def _open(plan: Plan, round_: Round, evidence: Evidence, action: Action) -> Flow[Round | None]:
    route = plan.routes.get(action)
    if route is None or not route.open(round_):
        return None
    decision = Decision(action, "full_evidence", round_.stage(0))
    try:
        opened = yield from route.follow(round_, evidence, decision)
    except EvidenceUnavailable:
        return None
    return None if isinstance(opened, Ending) else opened
