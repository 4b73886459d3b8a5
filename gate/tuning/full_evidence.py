"""Run a question through every stage of a policy, whatever the rule would say, and keep the replies.

From one such trace any policy over the same stages can be judged by replay: the very pipeline that serves requests is
run on the recorded replies, with no call.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gate.effects import Flow
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.asking import refused
from gate.evidence.draft import draft_of
from gate.pipeline import Plan, Standing, cut_short, enter, gather
from gate.ports import Ending, Evidence, Round
from gate.types import Action, Cost, Decision, Question, SignalVector, Stage


@dataclass(frozen=True, slots=True)
class Seen:
    """What a stage saw of a question: its signals, and the draft it would have let through."""

    stage: Stage
    vector: SignalVector
    draft: str
    cost: Cost
    """What coming here from the stage before it cost."""
    declined: bool = False
    """The model gave no answer: there is nothing to let through."""
    cut_short: bool = False
    """The draft is not whole: neither let through, nor asked more about."""
    evidence: Evidence = field(default_factory=Evidence, repr=False)
    """What the signals were read off."""


def full_evidence(plan: Plan, question: Question) -> Flow[tuple[Seen, ...]]:
    """Every stage of the plan: each upstream of the ladder, closed book and with passages, tier after tier.

    Raises `UpstreamError` when there is no first draft. A later draft that cannot be had leaves its stages out, as the
    pipeline leaves out that way.
    """
    seen: list[Seen] = []
    closed = plan.opening(question)
    evidence = yield from _tiers(plan, closed, seen)
    while True:
        yield from _opened(plan, closed, evidence, Action.RETRIEVE, seen)
        further = yield from _opened(plan, closed, evidence, Action.ESCALATE, seen)
        if further is None:
            return tuple(seen)
        closed, evidence = further


def _tiers(plan: Plan, round_: Round, seen: list[Seen]) -> Flow[Evidence]:
    standing: Standing = yield from enter(plan, round_)
    for tier in range(len(plan.tiers)):
        if tier:
            standing = yield from gather(plan, round_, tier, standing.evidence)
        draft = draft_of(standing.evidence).generation
        stage, cost = round_.stage(tier), standing.cost
        declined, short = refused(draft), cut_short(draft)
        seen.append(Seen(stage, standing.vector, draft.text, cost, declined, short, standing.evidence))
    return standing.evidence


def _opened(
    plan: Plan, round_: Round, evidence: Evidence, action: Action, seen: list[Seen]
) -> Flow[tuple[Round, Evidence] | None]:
    """The round a route opens from here, with all its evidence; None where it leads nowhere."""
    route = plan.routes.get(action)
    if route is None or not route.open(round_):
        return None
    decision = Decision(action, "full_evidence", round_.stage(0))
    try:
        opened = yield from route.follow(round_, evidence, decision)
        if isinstance(opened, Ending):
            return None
        return opened, (yield from _tiers(plan, opened, seen))
    except (EvidenceUnavailable, UpstreamError):
        return None
