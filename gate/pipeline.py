"""One question, start to finish: evidence → signals → confidence → decision → route, round after round. No I/O.

A failure of the first draft is the caller's to see: it leaves as `UpstreamError`. Whatever fails later closes the way
that failed, the rule decides again without it, and what was known before stays: at worst the outcome is an abstention.
No round is entered twice, and every way ends in an answer, a question asked back, or an abstention.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gate.deciding import ENDS, Closed, decide, reasons, saying
from gate.effects import Flow, observe
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.asking import stopped_early
from gate.evidence.citations import citing
from gate.evidence.closed_book import on_trial
from gate.evidence.draft import Draft
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
from gate.signals.question import timeless
from gate.spending import Purse, Tally, metered, no_room, tallied
from gate.types import (
    Action,
    Budget,
    Cost,
    Decision,
    Message,
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
_NOT_TAKEN = (400, 413, 422)
"""How an upstream refuses what it is sent: a prompt that passages made too long, say."""


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
    arbitrate: bool = False
    """Whether, where memory and passages lead to different answers, the likelier right of the two is on trial."""

    clarify_below: Mapping[str, float] = field(default_factory=dict)
    """Signals, and the readings below which the question is ambiguous: then the clarify route is open."""
    at_once: bool = False
    """Whether the evidence of all tiers is gathered before the first decision: where it costs nothing."""
    thorough: bool = False
    """Whether nothing is abstained from before all tiers are gathered: where there are no ways to another answer."""
    retrieve_first: Literal["never", "fresh", "always"] = "never"
    """For which questions the first round reads passages; ``fresh``: for those that ask for what changes with time."""

    def opening(self, question: Question) -> Round:
        """The first round of the closed book: the first upstream of the ladder, asked as the caller put it."""
        first = self.ladder[0]
        return Round(0, question, first, self.profiles[first], question.messages, found=question.passages)

    def begins_with_passages(self, question: Question) -> bool:
        """Whether a search comes before the first draft. Where it finds nothing, `opening` is where it begins."""
        if Action.RETRIEVE not in self.routes or self.retrieve_first == "never":
            return False
        return self.retrieve_first == "always" or timeless(question) < 1.0

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


def answer(
    plan: Plan,
    question: Question,
    opening: Round | None = None,
    telling: Callable[[Flow[Outcome]], Flow[Outcome]] | None = None,
    *,
    heard: Callable[[str, str], str] | None = None,
) -> Flow[Outcome]:
    """The outcome for one question. Raises `UpstreamError` when there is no first draft.

    ``opening``: the round it begins in, where that is not for the plan to say. ``telling`` answers requests with what
    is there already, and is not held against the budget. ``heard``: why no certificate holds for a reply of this
    upstream by that name of a model, or "" (`gate.model_names`).
    """
    others: list[str] = []

    def said(upstream: str, model: str) -> None:
        if heard is not None and (reason := heard(upstream, model)):
            others.append(reason)

    purse = Purse.of(plan.budget, plan.prices, said if heard is not None else None)
    flow = _answer(plan, question, purse, opening, others)
    return (yield from metered(flow if telling is None else telling(flow), purse))


def _answer(
    plan: Plan, question: Question, purse: Purse, opening: Round | None, others: Sequence[str]
) -> Flow[Outcome]:
    """``others`` grows: what was heard of other models than the certified ones."""
    standing = Standing(opening or plan.opening(question), 0, Evidence(), SignalVector(()), Cost())
    closed: dict[Action, Closed] = {}
    try:
        if opening is not None and not plan.frozen:
            standing = yield from enter(plan, opening)
        elif not plan.frozen:
            standing = yield from _begin(plan, question, closed)
    except EvidenceUnavailable:
        if not purse.short:
            raise
        plan = dataclasses.replace(plan, frozen="budget_spent")  # there is not even room for a draft
    begun, visited = reasons(closed), [_state(standing.round)]
    steps: list[Step] = []
    spent = standing.cost
    while True:
        standing = _voided(standing, others)
        decision = decide(plan, standing, closed, spent, short=purse.short, exhausted=len(steps) >= _MAX_DECISIONS)
        if decision.action in (Action.ANSWER, Action.CLARIFY):  # an abstention says what failed in any case
            decision = saying(decision, *begun)
        if decision.action in ENDS:
            ending = yield from _end(plan, standing, decision, spent)
            if ending.cost != _NOTHING:
                standing = dataclasses.replace(standing, cost=standing.cost + ending.cost)
                spent += ending.cost
            if isinstance(ending, _Failed):
                closed[decision.action] = ending.closed
                continue
            steps.append(_step(standing, saying(decision, ending.detail)))
            yield from observe(steps[-1])
            return _outcome(standing, ending, tuple(steps), spent)
        steps.append(_step(standing, decision))
        yield from observe(steps[-1])
        try:
            standing = yield from _move(plan, standing, decision, spent, visited)
            closed.pop(Action.GATHER, None)
        except (EvidenceUnavailable, UpstreamError) as error:
            closed[decision.action] = Closed.by(error)
            standing = dataclasses.replace(standing, cost=error.cost or Cost())
        spent += standing.cost


def _voided(standing: Standing, others: Sequence[str]) -> Standing:
    evidence = standing.evidence
    new = tuple(reason for reason in dict.fromkeys(others) if reason not in evidence.void)
    if not new:
        return standing
    return dataclasses.replace(standing, evidence=dataclasses.replace(evidence, void=(*evidence.void, *new)))


def _step(standing: Standing, decision: Decision) -> Step:
    return Step(decision, standing.vector, standing.cost, standing.evidence.void)


def _begin(plan: Plan, question: Question, closed: dict[Action, Closed]) -> Flow[Standing]:
    """The first round. Where it was to read passages and none can be had, it is closed book, and that way closed."""
    opening = plan.opening(question)
    route = plan.routes.get(Action.RETRIEVE)
    if route is not None and plan.begins_with_passages(question) and route.open(opening):
        try:
            first = Decision(Action.RETRIEVE, "retrieve_first", opening.stage(0))
            opened = yield from route.follow(opening, Evidence(), first)
            if isinstance(opened, Round):
                return (yield from enter(plan, opened))
        except (EvidenceUnavailable, UpstreamError) as error:
            if isinstance(error, UpstreamError) and error.status not in _NOT_TAKEN:
                raise  # it is the first draft that failed
            closed[Action.RETRIEVE] = Closed.by(error)
            opening = dataclasses.replace(opening, cost=error.cost or Cost())
    return (yield from enter(plan, opening))


def _move(
    plan: Plan, standing: Standing, decision: Decision, spent: Cost, visited: list[tuple[str, tuple[Message, ...]]]
) -> Flow[Standing]:
    """Carry out a decision that does not end: the next tier of this round, or the first tier of another."""
    if decision.action is Action.GATHER:
        return (yield from gather(plan, standing.round, standing.tier + 1, standing.evidence, spent))
    left = _within(standing.round, plan.budget, spent)
    if left.calls_left is not None:  # what the first tier needs beside the draft stays for it
        left = dataclasses.replace(left, calls_left=left.calls_left - plan.calls(0) + 1)
    following = plan.routes[decision.action].follow(left, standing.evidence, decision)
    opened = yield from tallied(following, Tally())
    if isinstance(opened, Ending):
        raise EvidenceUnavailable(f"the route {decision.action} ended instead of opening a round", opened.cost)
    if _state(opened) in visited:
        raise EvidenceUnavailable("visited before", opened.cost)
    visited.append(_state(opened))
    return (yield from enter(plan, opened, spent))


def _state(round_: Round) -> tuple[str, tuple[Message, ...]]:
    """What tells one round from another: who is asked, and what, which holds the passages."""
    return round_.upstream, round_.messages


def enter(plan: Plan, round_: Round, spent: Cost = _NOTHING) -> Flow[Standing]:
    """Gather the first tier of a round; all of them, where the plan has them at once."""
    standing = yield from gather(plan, round_, 0, Evidence(void=round_.void), spent)
    for tier in range(1, len(plan.tiers)) if plan.at_once else ():
        before = standing.cost
        standing = yield from gather(plan, round_, tier, standing.evidence, spent + before)
        standing = dataclasses.replace(standing, cost=before + standing.cost)
    return standing


def gather(plan: Plan, round_: Round, tier: int, evidence: Evidence, spent: Cost = _NOTHING) -> Flow[Standing]:
    """Gather one tier, after ``spent``. Only the draft may fail; any other fact that cannot be had is missing."""
    cost, left, reckoned = round_.cost if tier == 0 else Cost(), round_, None
    for source in plan.tiers[tier]:
        so_far = spent + cost
        needed = source.provides is Draft
        draft = evidence.find(Draft)
        if draft is not None and stopped_early(draft.generation):  # it is never answered, whatever bears it out
            evidence = evidence.lacking(source.provides, "the draft was stopped while it was written")
            continue
        if not needed and (reason := no_room(plan.budget, so_far, source.calls(round_.profile))):
            evidence = evidence.lacking(source.provides, reason)
            continue
        try:
            if so_far != reckoned:
                left, reckoned = _within(round_, plan.budget, so_far), so_far
            gathering = source.gather(left, evidence)
            gathering = citing(gathering) if round_.cites else gathering
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


def _within(round_: Round, budget: Budget, spent: Cost) -> Round:
    """The round with what the budget still allows."""
    if budget.calls is None and budget.tokens is None:
        return round_
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


def stages(rungs: Sequence[str], *, passages: bool, tiers: int, memory_from: int | None = None) -> tuple[Stage, ...]:
    """Every stage a question can be decided in, in the order in which questions come to them.

    From the tier ``memory_from`` on, the answer from memory has a stage of its own behind that of the draft beside it.
    """
    made: list[Stage] = []
    for name in rungs:
        for reading in (False, True) if passages else (False,):
            for tier in range(tiers):
                made.append(Stage(name, reading, tier))
                if reading and memory_from is not None and tier >= memory_from:
                    made.append(Stage(name, reading, tier, memory=True))
    return tuple(made)


@dataclass(frozen=True, slots=True)
class _Failed:
    """A route that was to end the question and did not."""

    closed: Closed
    cost: Cost


def _end(plan: Plan, standing: Standing, decision: Decision, spent: Cost) -> Flow[Ending | _Failed]:
    """What a route that ends gives back. Abstaining cannot fail: at worst nothing is said beside the decision."""
    route, cost = plan.routes[decision.action], Cost()
    try:
        answers = decision.action is Action.ANSWER  # which takes nothing of what is left
        round_ = standing.round if answers else _within(standing.round, plan.budget, spent)
        ending = yield from route.follow(round_, standing.evidence, decision)
        if isinstance(ending, Ending):
            return ending
        cost, failed = ending.cost, Closed(f"the route {decision.action} opened a round instead of ending")
    except (EvidenceUnavailable, UpstreamError) as error:
        cost, failed = error.cost or Cost(), Closed.by(error)
    return Ending("", cost=cost, detail=failed.why) if decision.action is Action.ABSTAIN else _Failed(failed, cost)


def _outcome(standing: Standing, ending: Ending, steps: tuple[Step, ...], spent: Cost) -> Outcome:
    decision = steps[-1].decision
    tried = None if ending.generation else on_trial(standing.evidence, memory=decision.stage.memory)
    return Outcome(
        action=decision.action,
        text=ending.text,
        steps=steps,
        cost=spent,
        generation=ending.generation,
        upstream=standing.round.upstream if ending.generation else "",
        passages=ending.passages,
        cited=ending.cited,
        hedged=ending.hedged,
        reference=ending.reference,
        withheld=tried,
    )
