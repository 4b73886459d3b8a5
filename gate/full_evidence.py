"""Run a question through every stage of a policy, whatever the rule would say, and keep the replies.

From one such trace any policy over the same stages can be judged by replay: the very pipeline that serves requests is
run on the recorded replies, with no call.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gate.deciding import ambiguous
from gate.effects import Flow
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.asking import cut_short, refused
from gate.evidence.closed_book import memory_of
from gate.evidence.draft import draft_of
from gate.pipeline import Plan, Standing, enter, gather
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


def draft_key(stage: Stage) -> str:
    """Under which the draft of a stage is kept.

    What memory says beside passages is kept by itself: it may have been asked otherwise than a closed-book round.
    """
    return f"{stage.round_key}/memory" if stage.memory else stage.round_key


def full_evidence(plan: Plan, question: Question) -> Flow[tuple[Seen, ...]]:
    """Every stage of the plan: each upstream of the ladder, closed book and with passages, tier after tier.

    Where memory may be heard beside passages and says otherwise, that is a stage too, at no further cost.

    Raises `UpstreamError` when there is no first draft. A later draft that cannot be had leaves its stages out, as the
    pipeline leaves out that way.
    """
    seen: list[Seen] = []
    closed = plan.opening(question)
    evidence = yield from _tiers(plan, closed, seen)
    # a round that comes first knows no answer from memory
    without_draft = plan.begins_with_passages(question)
    yield from _opened(plan, closed, Evidence() if without_draft else evidence, Action.RETRIEVE, seen)
    for name in plan.ladder[1:]:
        further = yield from _opened(plan, closed, evidence, Action.ESCALATE, seen, name)
        if further is not None:  # else a rule may still go past the upstream that failed
            closed, evidence = further
            yield from _opened(plan, closed, evidence, Action.RETRIEVE, seen)
    return tuple(seen)


def _tiers(plan: Plan, round_: Round, seen: list[Seen]) -> Flow[Evidence]:
    standing: Standing = yield from enter(plan, round_)
    for tier in range(len(plan.tiers)):
        if tier:
            standing = yield from gather(plan, round_, tier, standing.evidence)
        draft = draft_of(standing.evidence).generation
        stage, cost = round_.stage(tier), standing.cost
        declined, short = refused(draft), cut_short(draft)
        seen.append(Seen(stage, standing.vector, draft.text, cost, declined, short, standing.evidence))
        memory = memory_of(standing.evidence) if plan.arbitrate else None
        if memory is not None and stage.passages:
            beside = replace(stage, memory=True)
            seen.append(Seen(beside, standing.vector, memory.text, Cost(), evidence=standing.evidence))
        yield from _asked_back(plan, standing)
    return standing.evidence


def _asked_back(plan: Plan, standing: Standing) -> Flow[None]:
    """What is asked back where the question is ambiguous here: no evidence, but a replay asks for it too."""
    route, round_ = plan.routes.get(Action.CLARIFY), standing.round
    if route is not None and ambiguous(plan, standing.vector) and route.open(round_):
        decision = Decision(Action.CLARIFY, "full_evidence", round_.stage(standing.tier))
        yield from route.follow(round_, standing.evidence, decision)


def _opened(
    plan: Plan, round_: Round, evidence: Evidence, action: Action, seen: list[Seen], target: str = ""
) -> Flow[tuple[Round, Evidence] | None]:
    """The round a route opens from here, with all its evidence; None where it leads nowhere."""
    route = plan.routes.get(action)
    if route is None or not route.open(round_):
        return None
    decision = Decision(action, "full_evidence", round_.stage(0), target=target)
    try:
        opened = yield from route.follow(round_, evidence, decision)
        if isinstance(opened, Ending):
            return None
        return opened, (yield from _tiers(plan, opened, seen))
    except (EvidenceUnavailable, UpstreamError):
        return None
