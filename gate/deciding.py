"""Deciding: what is on trial, which ways are open and affordable, and what the rule makes of it. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gate.errors import EvidenceUnavailable, GateError, StaleCalibrator, UpstreamError, UpstreamTimeout
from gate.evidence.asking import cut_short, refused, stopped_early
from gate.evidence.closed_book import memory_of
from gate.evidence.draft import draft_of
from gate.ports import Rule
from gate.spending import no_room
from gate.types import Action, Confidence, Cost, Decision, Generation, SignalVector, Stage

if TYPE_CHECKING:
    from gate.pipeline import Plan, Standing

ENDS = frozenset({Action.ANSWER, Action.CLARIFY, Action.ABSTAIN})
_CUT_SHORT = "the draft was cut short: it reached the most tokens it may have (max_tokens, or what the budget has left)"
_STOPPED = "the draft was stopped while it was written, by whoever watched it"


@dataclass(frozen=True, slots=True)
class Closed:
    """A way that failed: why, and what a program calls it."""

    why: str
    code: str = ""

    @classmethod
    def by(cls, error: GateError) -> Closed:
        if isinstance(error, UpstreamError):
            return cls(str(error), "upstream_timeout" if isinstance(error, UpstreamTimeout) else "upstream_failed")
        return cls(str(error), error.code if isinstance(error, EvidenceUnavailable) else "")


def decide(
    plan: Plan, standing: Standing, closed: Mapping[Action, Closed], spent: Cost, *, short: bool, exhausted: bool
) -> Decision:
    stage = standing.round.stage(standing.tier)
    if plan.frozen:
        return Decision(Action.ABSTAIN, plan.frozen, stage)
    if plan.abstain_when_void and standing.evidence.void:
        return Decision(Action.ABSTAIN, "certificate_void", stage, detail="; ".join(standing.evidence.void))
    possible = _possible(plan, standing) - closed.keys()
    allowed = frozenset() if exhausted else frozenset(a for a in possible if _affordable(plan, standing, a, spent))
    draft = draft_of(standing.evidence).generation
    try:
        stage, draft, confidence = _on_trial(plan, standing, stage, draft)
    except StaleCalibrator as error:
        if stopped_early(draft):
            return Decision(Action.ABSTAIN, "cut_short", stage, detail=f"{_STOPPED}; {error}")
        if refused(draft):
            return Decision(Action.ABSTAIN, "model_declined", stage, detail=str(error))
        passes = plan.on_failure == "pass_through" and Action.ANSWER not in closed
        return Decision(Action.ANSWER if passes else Action.ABSTAIN, "calibrator_failed", stage, detail=str(error))
    decision = _judge(plan.rule, draft, confidence, stage, allowed)
    if decision.action not in allowed | (ENDS - {Action.CLARIFY} - closed.keys()):  # a rule that is anyone's
        decision = saying(decision, f"the rule chose to {decision.action}, which is not open")
        decision = dataclasses.replace(decision, action=Action.ABSTAIN)
    if decision.action is Action.ABSTAIN and plan.thorough and Action.GATHER in allowed:
        return dataclasses.replace(decision, action=Action.GATHER)
    if decision.action is not Action.ABSTAIN:
        return decision
    reason = "budget_spent" if short or allowed != possible else decision.reason
    if reason == "uncertain":  # what it failed for in the end says more
        reason = next((way.code for way in reversed([*closed.values()]) if way.code), reason)
    return saying(dataclasses.replace(decision, reason=reason), *reasons(closed))


def reasons(closed: Mapping[Action, Closed]) -> tuple[str, ...]:
    return tuple(f"{action}: {way.why}" for action, way in closed.items())


def saying(decision: Decision, *more: str) -> Decision:
    """The decision with more details."""
    if not any(more):
        return decision
    return dataclasses.replace(decision, detail="; ".join(filter(None, (decision.detail, *more))))


def _on_trial(plan: Plan, standing: Standing, stage: Stage, draft: Generation) -> tuple[Stage, Generation, Confidence]:
    """The draft; or the other answer that memory gave, where policy has the two arbitrated and it is likelier right.

    Situated faithfulness by rule (Huang et al. 2024), with a probability of its own for each side. A draft that may not
    be answered, and one of which the confidence is out of range, gives way to any other answer.
    """
    own = plan.calibrator.confidence(standing.vector, stage)
    memory = memory_of(standing.evidence) if plan.arbitrate and stage.passages else None
    if memory is None:
        return stage, draft, own
    beside = dataclasses.replace(stage, memory=True)
    other = plan.calibrator.confidence(standing.vector, beside)
    sound = not (own.out_of_distribution or refused(draft) or cut_short(draft))
    if other.out_of_distribution or (sound and other.p <= own.p):
        return stage, draft, own
    return beside, memory, dataclasses.replace(other, prospects=own.prospects)


def _judge(rule: Rule, draft: Generation, confidence: Confidence, stage: Stage, allowed: frozenset[Action]) -> Decision:
    """The rule's decision; drafts of which the confidence says nothing are never answered."""
    if refused(draft) and not stopped_early(draft):  # there is no answer that could be right
        none = dataclasses.replace(confidence, p=0.0, low=0.0, high=0.0, contributions=(), out_of_distribution=True)
        if none.prospects:  # what more evidence comes to was learned of answers
            allowed -= {Action.GATHER}
        return _never_answered(rule.decide(none, stage, allowed), "model_declined")
    if cut_short(draft):  # the calibrator was fitted on whole answers
        decision = rule.decide(dataclasses.replace(confidence, out_of_distribution=True), stage, allowed)
        return saying(_never_answered(decision, "cut_short"), _STOPPED if stopped_early(draft) else _CUT_SHORT)
    return rule.decide(confidence, stage, allowed)


def _never_answered(decision: Decision, reason: str) -> Decision:
    action = Action.ABSTAIN if decision.action is Action.ANSWER else decision.action
    kept = decision.reason if action is Action.CLARIFY else reason
    return dataclasses.replace(decision, action=action, reason=kept)


def _possible(plan: Plan, standing: Standing) -> frozenset[Action]:
    ways = {action for action, route in plan.routes.items() if route.open(standing.round)}
    draft = draft_of(standing.evidence).generation
    if standing.tier + 1 < len(plan.tiers) and not cut_short(draft):  # more evidence does not complete an answer
        ways.add(Action.GATHER)
    if not ambiguous(plan, standing.vector):
        ways.discard(Action.CLARIFY)
    return frozenset(ways - {Action.ANSWER, Action.ABSTAIN})


def ambiguous(plan: Plan, vector: SignalVector) -> bool:
    """Whether one of the signals that tell of ambiguity reads below its bound. A missing one does not."""
    read = ((vector.value(name), bound) for name, bound in plan.clarify_below.items())
    return any(value is not None and value < bound for value, bound in read)


def _affordable(plan: Plan, standing: Standing, action: Action, spent: Cost) -> bool:
    if action is Action.CLARIFY:  # without room for a call it asks back in gate's own words
        return True
    tier = standing.tier + 1 if action is Action.GATHER else 0
    return no_room(plan.budget, spent, plan.calls(tier)) is None
