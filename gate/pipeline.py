"""One question, start to finish: evidence → signals → confidence → decision → route, round after round. No I/O.

A failure of the first draft is the caller's to see: it leaves as `UpstreamError`. Whatever fails later closes the way
that failed, the rule decides again without it, and what was known before stays: at worst the outcome is an abstention.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gate.effects import Flow, observe
from gate.errors import EvidenceUnavailable, StaleCalibrator, UpstreamError
from gate.evidence.asking import refused
from gate.evidence.draft import Draft, draft_of
from gate.ports import (
    Calibrator,
    Ending,
    Evidence,
    EvidenceSource,
    Fact,
    Missing,
    Price,
    Profile,
    Round,
    Route,
    Rule,
    Signal,
)
from gate.spending import Purse, Tally, metered, tallied
from gate.types import (
    Action,
    Budget,
    Confidence,
    Cost,
    Decision,
    Generation,
    Outcome,
    Question,
    Reading,
    SignalVector,
    Stage,
    Step,
)

_MAX_DECISIONS = 64
"""No policy comes near it; it bounds the loop whatever a third-party route does."""
_NOTHING = Cost()
_CUT_SHORT = "the draft was cut short: it reached the most tokens it may have (max_tokens, or what the budget has left)"


@dataclass(frozen=True, slots=True)
class Plan:
    """A policy with its names made objects: all the pipeline needs to know."""

    ladder: tuple[str, ...]
    profiles: Mapping[str, Profile]
    tiers: tuple[tuple[EvidenceSource, ...], ...]
    """Evidence in the order it is bought; the draft is in the first tier."""
    signals: tuple[Signal, ...]
    calibrator: Calibrator
    rule: Rule
    routes: Mapping[Action, Route]
    budget: Budget = Budget()
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Of every upstream, and of the embedders and judges whose tokens count."""
    on_failure: Literal["abstain", "pass_through"] = "abstain"
    """What to do when confidence cannot be computed."""
    frozen: str | None = None
    """A reason to abstain from everything (a void certificate, say); None in normal service."""
    abstain_when_void: bool = False
    """Whether to abstain where the facts themselves show that no certificate holds: see `Evidence.void`."""

    def opening(self, question: Question) -> Round:
        """The first round: the first upstream of the ladder, closed book."""
        first = self.ladder[0]
        return Round(0, question, first, self.profiles[first], question.messages, found=question.passages)

    def calls(self, tier: int) -> int:
        """The calls a tier needs, with the upstream of the ladder that needs most."""
        return max(sum(source.calls(profile) for source in self.tiers[tier]) for profile in self.profiles.values())


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a question stands: this round's evidence, up to this tier, and what it says."""

    round: Round
    tier: int
    evidence: Evidence
    vector: SignalVector
    cost: Cost
    """What bringing it here cost since the last decision."""


def answer(plan: Plan, question: Question) -> Flow[Outcome]:
    """The outcome for one question. Raises `UpstreamError` when there is no first draft."""
    purse = Purse.of(plan.budget, plan.prices)
    return (yield from metered(_answer(plan, question, purse), purse))


def _answer(plan: Plan, question: Question, purse: Purse) -> Flow[Outcome]:
    opening = plan.opening(question)
    standing = Standing(opening, 0, Evidence(), SignalVector(()), Cost())
    try:
        if not plan.frozen:
            standing = yield from enter(plan, opening)
    except EvidenceUnavailable:
        if not purse.short:
            raise
        plan = dataclasses.replace(plan, frozen="budget_spent")  # there is not even room for a draft
    steps: list[Step] = []
    spent = standing.cost
    closed: dict[Action, str] = {}
    while True:
        decision = _decide(plan, standing, closed, spent, short=purse.short, exhausted=len(steps) >= _MAX_DECISIONS)
        step = Step(decision, standing.vector, standing.cost, standing.evidence.void)
        steps.append(step)
        yield from observe(step)
        if decision.action in (Action.ANSWER, Action.ABSTAIN):
            return (yield from _end(plan, standing, decision, tuple(steps), spent))
        try:
            moved = yield from _move(plan, standing, decision, spent)
        except (EvidenceUnavailable, UpstreamError) as error:
            closed[decision.action] = str(error)
            standing = dataclasses.replace(standing, cost=error.cost or Cost())
        else:
            standing = moved
            closed.pop(Action.GATHER, None)
        spent += standing.cost


def _move(plan: Plan, standing: Standing, decision: Decision, spent: Cost) -> Flow[Standing]:
    """Carry out a decision that does not end: the next tier of this round, or the first tier of another."""
    if decision.action is Action.GATHER:
        return (yield from gather(plan, standing.round, standing.tier + 1, standing.evidence, spent))
    opened = yield from plan.routes[decision.action].follow(standing.round, standing.evidence, decision)
    if isinstance(opened, Ending):
        raise EvidenceUnavailable(f"the route {decision.action} ended instead of opening a round")
    return (yield from enter(plan, opened, spent))


def enter(plan: Plan, round_: Round, spent: Cost = _NOTHING) -> Flow[Standing]:
    """Gather the first tier of a round."""
    return (yield from gather(plan, round_, 0, Evidence(), spent))


def gather(plan: Plan, round_: Round, tier: int, evidence: Evidence, spent: Cost = _NOTHING) -> Flow[Standing]:
    """Gather one tier, after ``spent``. Only the draft may fail; any other fact that cannot be had is missing."""
    cost = round_.cost if tier == 0 else Cost()
    for source in plan.tiers[tier]:
        so_far = spent + cost
        needed = source.provides is Draft
        if not needed and (reason := _no_room(plan.budget, so_far, source.calls(round_.profile))):
            evidence = evidence.lacking(source.provides, reason)
            continue
        try:
            gathering = source.gather(_within(round_, plan.budget, so_far), evidence)
            fact: Fact = yield from tallied(gathering, Tally())
        except (EvidenceUnavailable, UpstreamError) as error:
            cost += error.cost or Cost()
            if needed:
                error.cost = cost
                raise
            evidence = evidence.lacking(source.provides, str(error), voids=getattr(error, "voids", False))
        else:
            evidence = evidence.having(fact)
            cost += fact.cost
    return Standing(round_, tier, evidence, measure(plan.signals, evidence), cost)


def _no_room(budget: Budget, spent: Cost, calls: int) -> str | None:
    """Why so many more calls are not in the budget, or None. What makes no call always is."""
    if not calls:
        return None
    if budget.calls is not None and spent.calls + calls > budget.calls:
        return f"the budget of {budget.calls} calls has no room for it"
    for kind in ("tokens", "seconds", "money"):
        most = getattr(budget, kind)
        if most is not None and getattr(spent, kind) >= most:
            return f"the budget of {most:g} {kind} is spent"
    return None


def _within(round_: Round, budget: Budget, spent: Cost) -> Round:
    """The round with what the budget still allows."""
    calls = None if budget.calls is None else budget.calls - spent.calls
    tokens = None if budget.tokens is None else max(1, budget.tokens - spent.tokens)
    return dataclasses.replace(round_, calls_left=calls, tokens_left=tokens)


def measure(signals: tuple[Signal, ...], evidence: Evidence) -> SignalVector:
    """Read every signal off the evidence."""
    return SignalVector(tuple(_reading(signal.name, signal.measure(evidence)) for signal in signals))


def _reading(name: str, value: float | Missing) -> Reading:
    if isinstance(value, Missing):
        return Reading(name, None, value.reason)
    if not math.isfinite(value):  # no signal of ours, but anyone may add one
        return Reading(name, None, f"the signal gave {value}")
    return Reading(name, value)


def _decide(
    plan: Plan, standing: Standing, closed: Mapping[Action, str], spent: Cost, *, short: bool, exhausted: bool
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
        confidence = plan.calibrator.confidence(standing.vector, stage)
    except StaleCalibrator as error:
        if refused(draft):
            return Decision(Action.ABSTAIN, "model_declined", stage, detail=str(error))
        action = Action.ANSWER if plan.on_failure == "pass_through" else Action.ABSTAIN
        return Decision(action, "calibrator_failed", stage, detail=str(error))
    decision = _judge(plan.rule, draft, confidence, stage, allowed)
    if decision.action is not Action.ABSTAIN:
        return decision
    reason = "budget_spent" if short or allowed != possible else decision.reason
    whys = (decision.detail, *(f"{action}: {why}" for action, why in closed.items()))
    return dataclasses.replace(decision, reason=reason, detail="; ".join(filter(None, whys)))


def _judge(rule: Rule, draft: Generation, confidence: Confidence, stage: Stage, allowed: frozenset[Action]) -> Decision:
    """The rule's decision; drafts of which the confidence says nothing are never answered."""
    if refused(draft):  # there is no answer that could be right
        decision = rule.decide(Confidence(0.0, 0.0, 0.0, calibrated=confidence.calibrated), stage, allowed)
        action = Action.ABSTAIN if decision.action is Action.ANSWER else decision.action
        return dataclasses.replace(decision, action=action, reason="model_declined")
    if cut_short(draft):  # the calibrator was fitted on whole answers
        decision = rule.decide(dataclasses.replace(confidence, out_of_distribution=True), stage, allowed)
        return dataclasses.replace(decision, reason="cut_short", detail=_CUT_SHORT)
    return rule.decide(confidence, stage, allowed)


def cut_short(draft: Generation) -> bool:
    """Whether the draft ended because it might be no longer, and not because all was said."""
    return draft.finish_reason == "length"


def _possible(plan: Plan, standing: Standing) -> frozenset[Action]:
    ways = {action for action, route in plan.routes.items() if route.open(standing.round)}
    draft = draft_of(standing.evidence).generation
    if standing.tier + 1 < len(plan.tiers) and not cut_short(draft):  # more evidence does not complete an answer
        ways.add(Action.GATHER)
    return frozenset(ways - {Action.ANSWER, Action.ABSTAIN})


def _affordable(plan: Plan, standing: Standing, action: Action, spent: Cost) -> bool:
    tier = standing.tier + 1 if action is Action.GATHER else 0
    return _no_room(plan.budget, spent, plan.calls(tier)) is None


def _end(plan: Plan, standing: Standing, decision: Decision, steps: tuple[Step, ...], spent: Cost) -> Flow[Outcome]:
    ending = yield from plan.routes[decision.action].follow(standing.round, standing.evidence, decision)
    if isinstance(ending, Round):
        raise EvidenceUnavailable(f"the route {decision.action} opened a round instead of ending")
    return Outcome(
        action=decision.action,
        text=ending.text,
        steps=steps,
        cost=spent,
        generation=ending.generation,
        upstream=standing.round.upstream if ending.generation else "",
        passages=standing.round.passages if ending.generation else (),
    )
