"""One question, start to finish: evidence → signals → confidence → decision → route, round after round. No I/O.

A failure of the first draft is the caller's to see: it leaves as `UpstreamError`. Whatever fails later closes the way
that failed, the rule decides again without it, and what was known before stays: at worst the outcome is an abstention.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gate.effects import Flow, observe
from gate.errors import EvidenceUnavailable, StaleCalibrator, UpstreamError
from gate.evidence.asking import refused
from gate.evidence.draft import Draft, draft_of
from gate.ports import Calibrator, Ending, Evidence, EvidenceSource, Fact, Missing, Profile, Round, Route, Rule, Signal
from gate.types import Action, Budget, Confidence, Cost, Decision, Outcome, Question, Reading, SignalVector, Step

_MAX_DECISIONS = 64
"""No policy comes near it; it bounds the loop whatever a third-party route does."""


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
    on_failure: Literal["abstain", "pass_through"] = "abstain"
    """What to do when confidence cannot be computed."""
    frozen: str | None = None
    """A reason to abstain from everything (a void certificate, say); None in normal service."""

    def opening(self, question: Question) -> Round:
        """The first round: the first upstream of the ladder, closed book."""
        first = self.ladder[0]
        return Round(0, question, first, self.profiles[first], question.messages, tokens_left=self.budget.tokens)

    def calls(self, tier: int) -> int:
        """The most calls a tier can make with any upstream of the ladder."""
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
    standing = yield from enter(plan, plan.opening(question))
    steps: list[Step] = []
    spent = standing.cost
    closed: dict[Action, str] = {}
    while True:
        decision = _decide(plan, standing, closed, spent, exhausted=len(steps) >= _MAX_DECISIONS)
        step = Step(decision, standing.vector, standing.cost)
        steps.append(step)
        yield from observe(step)
        if decision.action in (Action.ANSWER, Action.ABSTAIN):
            return (yield from _end(plan, standing, decision, tuple(steps), spent))
        try:
            left = None if plan.budget.tokens is None else max(1, plan.budget.tokens - spent.tokens)
            moved = yield from _move(plan, standing, decision, left)
        except (EvidenceUnavailable, UpstreamError) as error:
            closed[decision.action] = str(error)
            standing = dataclasses.replace(standing, cost=_cost_of(error))
        else:
            standing = moved
            closed.pop(Action.GATHER, None)
        spent += standing.cost


def _move(plan: Plan, standing: Standing, decision: Decision, tokens_left: int | None) -> Flow[Standing]:
    """Carry out a decision that does not end: the next tier of this round, or the first tier of another."""
    if decision.action is Action.GATHER:
        round_ = dataclasses.replace(standing.round, tokens_left=tokens_left)
        return (yield from gather(plan, round_, standing.tier + 1, standing.evidence))
    opened = yield from plan.routes[decision.action].follow(standing.round, standing.evidence, decision)
    if isinstance(opened, Ending):
        raise EvidenceUnavailable(f"the route {decision.action} ended instead of opening a round")
    return (yield from enter(plan, dataclasses.replace(opened, tokens_left=tokens_left)))


def enter(plan: Plan, round_: Round) -> Flow[Standing]:
    """Gather the first tier of a round."""
    return (yield from gather(plan, round_, 0, Evidence()))


def gather(plan: Plan, round_: Round, tier: int, evidence: Evidence) -> Flow[Standing]:
    """Gather one tier. Only the draft may fail; any other fact that cannot be had is noted as missing."""
    cost = round_.cost if tier == 0 else Cost()
    for source in plan.tiers[tier]:
        try:
            fact: Fact = yield from source.gather(round_, evidence)
        except EvidenceUnavailable as error:
            evidence = evidence.lacking(source.provides, str(error))
        except UpstreamError as error:
            if source.provides is Draft:
                raise
            evidence = evidence.lacking(source.provides, str(error))
            cost += _cost_of(error)
        else:
            evidence = evidence.having(fact)
            cost += fact.cost
    return Standing(round_, tier, evidence, measure(plan.signals, evidence), cost)


def _cost_of(error: EvidenceUnavailable | UpstreamError) -> Cost:
    """Calls that failed were made all the same."""
    return (error.cost if isinstance(error, UpstreamError) else None) or Cost()


def measure(signals: tuple[Signal, ...], evidence: Evidence) -> SignalVector:
    """Read every signal off the evidence."""
    readings = []
    for signal in signals:
        value = signal.measure(evidence)
        missing = value.reason if isinstance(value, Missing) else None
        readings.append(Reading(signal.name, None if isinstance(value, Missing) else value, missing))
    return SignalVector(tuple(readings))


def _decide(plan: Plan, standing: Standing, closed: Mapping[Action, str], spent: Cost, *, exhausted: bool) -> Decision:
    stage = standing.round.stage(standing.tier)
    if plan.frozen:
        return Decision(Action.ABSTAIN, plan.frozen, stage)
    possible = _possible(plan, standing) - closed.keys()
    allowed = frozenset() if exhausted else frozenset(a for a in possible if _affordable(plan, standing, a, spent))
    try:
        confidence = plan.calibrator.confidence(standing.vector, stage)
    except StaleCalibrator as error:
        action = Action.ANSWER if plan.on_failure == "pass_through" else Action.ABSTAIN
        return Decision(action, "calibrator_failed", stage, detail=str(error))
    declined = refused(draft_of(standing.evidence).generation)
    if declined:  # there is no answer that could be right
        confidence = Confidence(0.0, 0.0, 0.0, calibrated=confidence.calibrated)
    decision = plan.rule.decide(confidence, stage, allowed)
    if declined:
        decision = dataclasses.replace(decision, reason="model_declined")
    if decision.action is Action.ABSTAIN and allowed != possible:
        decision = dataclasses.replace(decision, reason="budget_spent")
    if closed and decision.action is Action.ABSTAIN:
        detail = "; ".join(f"{action}: {why}" for action, why in closed.items())
        decision = dataclasses.replace(decision, detail=detail)
    return decision


def _possible(plan: Plan, standing: Standing) -> frozenset[Action]:
    ways = {action for action, route in plan.routes.items() if route.open(standing.round)}
    if standing.tier + 1 < len(plan.tiers):
        ways.add(Action.GATHER)
    return frozenset(ways - {Action.ANSWER, Action.ABSTAIN})


def _affordable(plan: Plan, standing: Standing, action: Action, spent: Cost) -> bool:
    budget = plan.budget
    calls = plan.calls(standing.tier + 1 if action is Action.GATHER else 0)
    return (
        (budget.calls is None or spent.calls + calls <= budget.calls)
        and (budget.tokens is None or spent.tokens < budget.tokens)
        and (budget.seconds is None or spent.seconds < budget.seconds)
        and (budget.money is None or spent.money < budget.money)
    )


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
