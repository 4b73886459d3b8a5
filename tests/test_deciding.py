"""Deciding: when a question is ambiguous, what a closed way is called, and who is on trial."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.deciding import Closed, ambiguous, decide, saying
from gate.drivers import Recording, ThreadedDriver
from gate.errors import EvidenceUnavailable, UpstreamError, UpstreamTimeout
from gate.pipeline import Plan, Standing, enter
from gate.types import Action, Confidence, Cost, Decision, Prospect, Question, Reading, SignalVector, Stage
from tests.scripted import Scripted, always, plan_over, world_of

STAGE = Stage("small")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UpstreamError("large", "is down"), "upstream_failed"),
        (UpstreamTimeout("large", "did not answer"), "upstream_timeout"),
        (EvidenceUnavailable("no passage was found", code="no_passages"), "no_passages"),
        (EvidenceUnavailable("the budget has no room for it"), ""),
    ],
)
def test_a_way_that_failed_has_a_name_for_programs(error: EvidenceUnavailable | UpstreamError, code: str) -> None:
    closed = Closed.by(error)
    assert (closed.code, closed.why) == (code, str(error))


def plan(**changes: object) -> Plan:
    small = Scripted("small", always("Nigeria"))
    return replace(plan_over({"small": small, "large": Scripted("large", always("Peru"))}), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "found"), [(0.2, True), (0.3, False), (None, False)])
def test_a_question_is_ambiguous_where_a_signal_of_it_reads_below_its_bound(value: float | None, found: bool) -> None:
    reading = Reading("question_clear", value, None if value is not None else "not asked")
    assert ambiguous(plan(clarify_below={"question_clear": 0.3}), SignalVector((reading,))) is found
    assert not ambiguous(plan(), SignalVector((reading,)))


def test_a_decision_says_more_without_losing_what_it_said() -> None:
    decision = Decision(Action.ABSTAIN, "uncertain", STAGE, detail="one")
    assert saying(decision, "", "two").detail == "one; two"
    assert saying(decision).detail == "one"


class Foreseeing:
    """A calibrator that is unsure, and thinks more evidence free and escalating dear."""

    fingerprint = "foreseeing"

    def check(self, signals: tuple[str, ...], stages: tuple[Stage, ...]) -> None:
        """Nothing to object to."""

    def confidence(self, vector: SignalVector, stage: Stage) -> Confidence:
        ways = Prospect(Action.GATHER, 0.5, 0.0), Prospect(Action.ESCALATE, 0.5, 0.05, "large")
        return Confidence(0.5, 0.5, 0.5, prospects=ways)


class LeastCost:
    """Takes the cheapest prospect that is open."""

    def decide(self, confidence: Confidence, stage: Stage, open_actions: frozenset[Action]) -> Decision:
        ways = [way for way in confidence.prospects if way.action in open_actions]
        best = min(ways, key=lambda way: way.cost, default=Prospect(Action.ABSTAIN, 0.0, 0.1))
        return Decision(best.action, "uncertain", stage, confidence, target=best.target)


@pytest.mark.parametrize(
    ("draft", "action"), [("Nigeria", Action.GATHER), ("", Action.ESCALATE)], ids=["an answer", "none"]
)
def test_no_more_evidence_is_bought_about_a_draft_that_says_nothing(draft: str, action: Action) -> None:
    upstreams = {"small": Scripted("small", always(draft)), "large": Scripted("large", always("Peru"))}
    lazy = plan_over(upstreams)
    made = replace(lazy, tiers=(lazy.tiers[0][:1], lazy.tiers[0][1:]), calibrator=Foreseeing(), rule=LeastCost())
    driver = ThreadedDriver(world_of(upstreams))
    standing: Standing = driver.run(enter(made, made.opening(Question.from_text("Where is Lagos?"))), Recording())
    driver.close()
    decision = decide(made, standing, {}, Cost(), short=False, exhausted=False)
    assert decision.action is action
    assert decision.target == ("large" if action is Action.ESCALATE else "")
