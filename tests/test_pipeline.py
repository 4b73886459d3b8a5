"""The pipeline by its playbook: for what every upstream says, exactly what is asked, decided and spent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.calibration import VoteShareCalibrator
from gate.deciding import ENDS
from gate.drivers.world import search_failed
from gate.effects import STOPPED_EARLY, Effect, Flow, Generate, Observe, Reply, Retrieve, Together
from gate.errors import EvidenceUnavailable, StaleCalibrator, UpstreamError, UpstreamTimeout
from gate.evidence import ClosedBookSource, DraftSource, MeaningsSource, SamplesSource
from gate.pipeline import Plan, answer, measure, stages
from gate.ports import Ending, Evidence, Profile, Round
from gate.prompts import load
from gate.routes import AbstainRoute, ClarifyRoute
from gate.routes.wording import refusal
from gate.rules import ThresholdRule
from gate.types import (
    Action,
    Budget,
    Confidence,
    Cost,
    Decision,
    Generation,
    Generations,
    Message,
    Outcome,
    Passage,
    Question,
    SignalVector,
    Stage,
    Step,
    TokenLogprob,
    Usage,
)
from tests.scripted import Scripted, always, plan_over

ASKED = Question.from_text("Where is Lagos?")
FOUND = (Passage("lagos", "Lagos is a city in Nigeria.", 2.0),)
MIXED = ("Ghana", "Togo", "Benin", "Nigeria", "Mali")
DOWN = UpstreamError("small", "is down")
CALL = Cost(calls=1, prompt_tokens=10, completion_tokens=4, money=0.25)
FAILED = Cost(calls=3, money=0.125)
SEARCH = Cost(seconds=2.0)
"""Costs that add up exactly in floating point, so that sums can be compared with ==."""

Said = str | Generation | UpstreamError
Script = Callable[[Generate, int], Said]


@dataclass
class Play:
    """Performs a flow's effects from a script, and notes each of them and all that was charged."""

    script: Script
    found: tuple[Passage, ...] = FOUND
    noted: list[str] = field(default_factory=list)
    sent: list[Generate] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    charged: Cost = Cost()

    def run(self, flow: Flow[Any]) -> Any:
        effect = next(flow, None)
        while effect is not None:
            try:
                reply = self.perform(effect)
                effect = flow.send(reply)
            except StopIteration as stop:
                return stop.value
            except (EvidenceUnavailable, UpstreamError) as error:
                try:
                    effect = flow.throw(error)
                except StopIteration as stop:
                    return stop.value
        raise AssertionError("the flow ended before its first effect")

    def perform(self, effect: Effect) -> Any:
        match effect:
            case Generate():
                return self.generate(effect)
            case Retrieve():
                self.noted.append("search")
                self.charged += SEARCH
                return Reply(self.found, SEARCH)
            case Together(flows):
                return tuple(self.run(flow) for flow in flows)
            case Observe(step):
                self.noted.append(f"{step.decision.action}: {step.decision.reason}")
                self.steps.append(step)
                return None

    def generate(self, effect: Generate) -> Reply[Generations]:
        self.noted.append(f"{effect.upstream} x{effect.n}{' reading' if reading(effect) else ''}")
        self.sent.append(effect)
        said = [self.script(effect, place) for place in range(effect.n)]
        for one in said:
            if isinstance(one, UpstreamError):
                self.charged += FAILED
                error = type(one)(one.upstream, one.cause, status=one.status)
                error.cost = FAILED
                raise error
        self.charged += CALL
        return Reply(Generations(tuple(generation(one) for one in said), Usage(10, 4), effect.upstream), CALL)


def generation(said: Said) -> Generation:
    assert not isinstance(said, UpstreamError)
    if isinstance(said, Generation):
        return said
    return Generation(said, tokens=(TokenLogprob(said, -0.1, ((said, -0.1), ("other", -3.0))),))


def reading(effect: Generate) -> bool:
    return "passages" in effect.messages[-1].content


def drafting(effect: Generate) -> bool:
    return effect.n == 1 and effect.temperature == 0


def plan(*names: str, lazy: bool = False, rule: ThresholdRule | None = None, **changes: Any) -> Plan:
    """A plan over upstreams called so; ``lazy`` draws the samples only in a second tier."""
    names = names or ("small",)
    passages = changes.pop("passages", False)
    made = plan_over({name: Scripted(name, always("")) for name in names}, passages=passages)
    if lazy:
        changes["tiers"] = ((DraftSource(),), (SamplesSource(n=5), MeaningsSource()))
    return dataclasses.replace(made, rule=rule or made.rule, **changes)


def play(plan: Plan, script: Script, found: tuple[Passage, ...] = FOUND) -> tuple[Outcome, Play]:
    stage = Play(script, found)
    outcome = stage.run(answer(plan, ASKED))
    assert isinstance(outcome, Outcome)
    assert stage.steps == list(outcome.steps), "every step is observed"
    return outcome, stage


def unsure(effect: Generate, place: int) -> Said:
    return "Ghana" if drafting(effect) else MIXED[place]


def sure_when(condition: Callable[[Generate], bool], else_: Script = unsure) -> Script:
    return lambda effect, place: "Nigeria" if condition(effect) else else_(effect, place)


UP_FIRST = ThresholdRule(answer_at=0.8, otherwise=(Action.ESCALATE, Action.RETRIEVE))


# --- the ways through --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "script", "noted", "text"),
    [
        (
            plan("small", "large", passages=True),
            always("Nigeria"),
            ["small x1", "small x5", "answer: confident"],
            "Nigeria",
        ),
        (
            plan(lazy=True),
            always("Nigeria"),
            ["small x1", "gather: uncertain", "small x5", "answer: confident"],
            "Nigeria",
        ),
        (
            plan("small", "large", passages=True),
            sure_when(reading),
            ["small x1", "small x5", "retrieve: uncertain", "search", "small x1 reading", "small x5 reading",
             "answer: confident"],
            "Nigeria",
        ),
        (
            plan("small", "large", passages=True),
            sure_when(lambda e: e.upstream == "large"),
            ["small x1", "small x5", "retrieve: uncertain", "search", "small x1 reading", "small x5 reading",
             "escalate: uncertain", "large x1", "large x5", "answer: confident"],
            "Nigeria",
        ),
        (
            plan("small", "large", passages=True),
            unsure,
            ["small x1", "small x5", "retrieve: uncertain", "search", "small x1 reading", "small x5 reading",
             "escalate: uncertain", "large x1", "large x5", "retrieve: uncertain", "large x1 reading",
             "large x5 reading", "abstain: uncertain"],
            "I do not know.",
        ),
        (
            plan("small", "large", passages=True, rule=UP_FIRST),
            unsure,
            ["small x1", "small x5", "escalate: uncertain", "large x1", "large x5", "retrieve: uncertain", "search",
             "large x1 reading", "large x5 reading", "abstain: uncertain"],
            "I do not know.",
        ),
        (
            plan(lazy=True, rule=ThresholdRule(answer_at=0.8, gather_above=0.5)),
            always("Nigeria"),
            ["small x1", "abstain: uncertain"],
            "I do not know.",
        ),
    ],
    ids=[
        "confident at once", "gathers", "retrieves once", "escalates closed book", "reads with both", "up, then reads",
        "hopeless",
    ],
)  # fmt: skip
def test_exactly_what_is_asked_and_decided(made: Plan, script: Script, noted: list[str], text: str) -> None:
    outcome, stage = play(made, script)
    assert stage.noted == noted
    assert outcome.text == text
    assert outcome.cost == stage.charged == sum((step.cost for step in outcome.steps), Cost())


def test_an_answer_carries_its_author_tokens_passages_and_stage() -> None:
    script = sure_when(lambda e: e.upstream == "large" and reading(e))
    outcome, _ = play(plan("small", "large", passages=True), script)
    assert outcome.upstream == "large"
    assert outcome.passages == FOUND
    assert outcome.generation == dataclasses.replace(generation("Nigeria"), cites=True)
    assert outcome.cited == ("lagos",)
    assert [step.decision.stage.key for step in outcome.steps] == [
        "small/closed_book/tier0",
        "small/with_passages/tier0",
        "large/closed_book/tier0",
        "large/with_passages/tier0",
    ]
    assert outcome.confidence is not None
    assert outcome.confidence.p == pytest.approx(6 / 7)
    assert outcome.decision.threshold == pytest.approx(0.8)


def test_an_abstention_carries_no_answer() -> None:
    outcome, _ = play(plan(passages=True), unsure)
    assert (outcome.action, outcome.text, outcome.generation) == (Action.ABSTAIN, "I do not know.", None)
    assert (outcome.upstream, outcome.passages) == ("", ())
    assert outcome.confidence is not None
    assert outcome.confidence.p == pytest.approx(2 / 7)


# --- the budget --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "calls"),
    [
        (Budget(calls=1), 1),
        (Budget(calls=2), 2),
        (Budget(tokens=14 + 14), 1),
        (Budget(tokens=14 + 15), 2),
        (Budget(money=0.25), 1),
        (Budget(money=0.26), 2),
    ],
    ids=str,
)
def test_a_budget_is_a_hard_stop_before_the_next_tier(budget: Budget, calls: int) -> None:
    outcome, stage = play(plan(lazy=True, budget=budget), unsure)
    assert outcome.cost.calls == len(stage.sent) == calls
    assert outcome.action is Action.ABSTAIN
    assert outcome.decision.reason == ("budget_spent" if calls == 1 else "uncertain")


def test_seconds_are_a_hard_stop_too() -> None:
    for seconds, reason in ((2.0, "budget_spent"), (2.1, "uncertain")):
        made = plan("small", "large", passages=True, budget=Budget(seconds=seconds))
        outcome, stage = play(made, unsure)
        assert outcome.decision.reason == reason
        assert ("large x1 reading" in stage.noted) == (reason == "uncertain")


@given(st.integers(1, 40), st.booleans())
def test_no_more_calls_are_made_than_the_budget_allows(calls: int, lazy: bool) -> None:
    outcome, stage = play(plan("small", "large", passages=True, lazy=lazy, budget=Budget(calls=calls)), unsure)
    assert stage.charged.calls <= calls
    assert outcome.cost.calls == stage.charged.calls


def test_what_is_left_of_the_tokens_caps_every_request() -> None:
    _, stage = play(plan(lazy=True, budget=Budget(tokens=100)), unsure)
    foreseen = 4 + 4 + 5  # fifteen bytes of question
    assert [effect.cap for effect in stage.sent] == [100 - foreseen, (100 - 14 - 10) // 5]


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_failing_first_draft_is_the_callers_to_see() -> None:
    stage = Play(lambda effect, place: DOWN)
    with pytest.raises(UpstreamError, match="is down"):
        stage.run(answer(plan("small", "large", passages=True), ASKED))
    assert stage.noted == ["small x1"]


def test_a_later_failure_closes_that_way_and_the_rule_decides_again() -> None:
    script = sure_when(lambda e: e.upstream == "large", lambda e, i: DOWN if reading(e) else unsure(e, i))
    outcome, stage = play(plan("small", "large", passages=True), script)
    assert stage.noted == [
        "small x1", "small x5", "retrieve: uncertain", "search", "small x1 reading", "escalate: uncertain",
        "large x1", "large x5", "answer: confident",
    ]  # fmt: skip
    assert outcome.steps[1].cost.calls == FAILED.calls
    assert outcome.cost.calls == stage.charged.calls == 4 + FAILED.calls


def test_a_search_that_finds_nothing_closes_that_way() -> None:
    outcome, stage = play(plan(passages=True), unsure, found=())
    assert stage.noted == ["small x1", "small x5", "retrieve: uncertain", "search", "abstain: no_passages"]
    assert outcome.decision.detail == "retrieve: no passage was found"


def test_passages_that_came_with_the_question_are_read_without_a_search() -> None:
    mine = (Passage("mine", "Lagos lies in Nigeria, says my file."),)
    question = dataclasses.replace(ASKED, passages=mine)
    made, stage = plan("small", "large", passages=True), Play(unsure)
    outcome = stage.run(answer(made, question))
    assert "search" not in stage.noted
    assert [note for note in stage.noted if "reading" in note] == [
        "small x1 reading",
        "small x5 reading",
        "large x1 reading",
        "large x5 reading",
    ]
    for sent in stage.sent:
        assert ("says my file" in sent.messages[-1].content) is reading(sent)
    assert outcome.cost.seconds == 0.0
    assert made.opening(question).found == mine
    assert made.opening(question).passages == ()  # closed book comes first


def test_passages_are_not_read_where_the_policy_does_not_retrieve() -> None:
    question = dataclasses.replace(ASKED, passages=FOUND)
    stage = Play(unsure)
    stage.run(answer(plan(), question))
    assert stage.noted == ["small x1", "small x5", "abstain: uncertain"]


def test_when_every_later_way_fails_the_outcome_is_an_abstention_that_says_why() -> None:
    script: Script = lambda e, i: UpstreamError("large", "is down") if e.upstream == "large" else unsure(e, i)  # noqa: E731
    outcome, stage = play(plan("small", "large"), script)
    assert stage.noted == ["small x1", "small x5", "escalate: uncertain", "large x1", "abstain: upstream_failed"]
    assert outcome.decision.detail == "escalate: upstream 'large': is down"


def test_time_spent_on_a_search_is_counted_even_when_what_follows_fails() -> None:
    outcome, stage = play(plan(passages=True), lambda e, i: DOWN if reading(e) else unsure(e, i))
    assert stage.charged.seconds == SEARCH.seconds
    assert outcome.cost == stage.charged


def test_a_fact_that_cannot_be_had_makes_its_signals_missing_and_never_zero() -> None:
    outcome, stage = play(plan(), lambda e, i: "Nigeria" if drafting(e) else DOWN)
    readings = {reading.signal: reading for reading in outcome.steps[0].signals.readings}
    for name in ("vote_share", "semantic_concentration", "semantic_concentration_weighted"):
        assert readings[name].value is None
        assert "is down" in (readings[name].missing or "")
    for name in ("passage_score", "answer_in_passages"):
        assert readings[name].value is None
        assert readings[name].missing == "no passage is in the prompt"
    assert readings["token_logprob_sum"].value == pytest.approx(-0.1)
    assert outcome.action is Action.ABSTAIN
    assert stage.noted == ["small x1", "small x5", "abstain: uncertain"]


def test_calls_for_samples_that_all_failed_are_counted() -> None:
    outcome, stage = play(plan(), lambda e, i: "Nigeria" if drafting(e) else DOWN)
    assert stage.charged.calls == 1 + FAILED.calls
    assert outcome.cost == stage.charged


@dataclass(frozen=True)
class Stale:
    """A calibrator that cannot tell."""

    fingerprint: str = "stale"

    def check(self, signals: tuple[str, ...], stages: tuple[Stage, ...]) -> None: ...

    def confidence(self, vector: SignalVector, stage: Stage) -> Confidence:
        raise StaleCalibrator("fitted for other stages")


@pytest.mark.parametrize(("on_failure", "text"), [("abstain", "I do not know."), ("pass_through", "Nigeria")])
def test_the_policy_says_what_happens_when_confidence_cannot_be_computed(on_failure: str, text: str) -> None:
    outcome, stage = play(plan("small", "large", calibrator=Stale(), on_failure=on_failure), always("Nigeria"))
    assert outcome.text == text
    assert outcome.decision.reason == "calibrator_failed"
    assert outcome.decision.detail == "fitted for other stages"
    assert outcome.confidence is None
    assert len(stage.sent) == 2


DECLINED = {
    "refused": Generation("No.", refusal="I will not say."),
    "empty": Generation(""),
    "blank": Generation(" \n"),
}


@pytest.mark.parametrize(
    "made",
    [
        plan(),
        plan(rule=ThresholdRule(answer_at=0.0)),
        plan(calibrator=Stale(), on_failure="pass_through"),
    ],
    ids=["usual", "threshold of zero", "pass through"],
)
@pytest.mark.parametrize("draft", DECLINED)
def test_a_draft_in_which_the_model_declines_is_never_answered(draft: str, made: Plan) -> None:
    outcome, _ = play(made, lambda effect, place: DECLINED[draft])
    assert outcome.action is Action.ABSTAIN
    assert outcome.decision.reason == "model_declined"
    assert outcome.text == "I do not know."


def test_another_upstream_may_answer_what_the_first_declines() -> None:
    script = sure_when(lambda e: e.upstream == "large", lambda e, i: DECLINED["refused"])
    outcome, stage = play(plan("small", "large"), script)
    assert [note for note in stage.noted if ":" in note] == ["escalate: model_declined", "answer: confident"]
    assert outcome.text == "Nigeria"


CUT = dataclasses.replace(generation("South"), finish_reason="length")


@pytest.mark.parametrize("answer_at", [0.8, 0.0])
def test_a_draft_cut_short_is_never_answered_however_sure(answer_at: float) -> None:
    outcome, stage = play(plan(rule=ThresholdRule(answer_at=answer_at)), lambda effect, place: CUT)
    assert stage.noted == ["small x1", "small x5", "abstain: cut_short"]
    assert "cut short" in outcome.decision.detail
    assert outcome.confidence is not None
    assert outcome.confidence.out_of_distribution
    assert outcome.confidence.p > 0.8


def test_a_draft_cut_short_takes_another_way_and_no_more_evidence_is_bought_for_it() -> None:
    script: Script = lambda effect, place: "Nigeria" if effect.upstream == "large" else CUT  # noqa: E731
    outcome, stage = play(plan("small", "large", lazy=True), script)
    assert stage.noted == [
        "small x1", "escalate: cut_short", "large x1", "gather: uncertain", "large x5", "answer: confident",
    ]  # fmt: skip
    assert outcome.text == "Nigeria"


def test_a_draft_cut_short_keeps_its_reason_beside_those_of_closed_ways() -> None:
    script: Script = lambda e, i: UpstreamError("large", "is down") if e.upstream == "large" else CUT  # noqa: E731
    outcome, _ = play(plan("small", "large"), script)
    assert outcome.decision.reason == "cut_short"
    assert "cut short" in outcome.decision.detail
    assert outcome.decision.detail.endswith("; escalate: upstream 'large': is down")


@pytest.mark.parametrize("said", ["South", " "], ids=["some words", "hardly begun"])
@pytest.mark.parametrize(
    "made",
    [
        plan(),
        plan(rule=ThresholdRule(answer_at=0.0)),
        plan(calibrator=Stale(), on_failure="pass_through"),
        plan(routes={**plan().routes, Action.ABSTAIN: AbstainRoute("I do not know.", hedge_above=0.0)}),
    ],
    ids=["usual", "threshold of zero", "pass through", "hedging"],
)
def test_a_draft_that_was_stopped_is_never_answered_and_nothing_more_is_bought_for_it(made: Plan, said: str) -> None:
    outcome, stage = play(made, lambda effect, place: Generation(said, STOPPED_EARLY))
    assert stage.noted == ["small x1", "abstain: cut_short"]
    assert (outcome.text, outcome.generation, outcome.hedged) == ("I do not know.", None, False)
    assert "was stopped while it was written" in outcome.decision.detail
    assert all(
        "was stopped" in (r.missing or "") for r in outcome.steps[0].signals.readings if r.signal == "vote_share"
    )


def test_where_a_draft_was_stopped_another_upstream_is_asked() -> None:
    stopped = Generation("South", STOPPED_EARLY)
    script: Script = lambda effect, place: "Nigeria" if effect.upstream == "large" else stopped  # noqa: E731
    outcome, stage = play(plan("small", "large"), script)
    assert stage.noted == ["small x1", "escalate: cut_short", "large x1", "large x5", "answer: confident"]
    assert outcome.text == "Nigeria"


def test_a_frozen_plan_abstains_whatever_it_is_told() -> None:
    outcome, stage = play(plan("small", "large", passages=True, frozen="certificate_void"), always("Nigeria"))
    assert [note for note in stage.noted if ":" in note] == ["abstain: certificate_void"]
    assert (outcome.text, outcome.generation, outcome.withheld) == ("I do not know.", None, None)


# --- whatever happens --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Again:
    """A route that opens another round for ever, each time a new one."""

    action: Action = Action.ESCALATE

    def open(self, round_: Round) -> bool:
        return True

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        yield from ()
        asked = Message("user", f"{round_.number}: where is Lagos?")
        return dataclasses.replace(round_, number=round_.number + 1, messages=(asked,))


def test_the_loop_is_bounded_even_with_a_route_that_always_opens_another_round() -> None:
    routes = {**plan().routes, Action.ESCALATE: Again()}
    outcome, _ = play(plan(routes=routes), unsure)
    assert outcome.action is Action.ABSTAIN
    assert len(outcome.steps) == 65


def test_a_route_that_ends_instead_of_going_on_is_closed() -> None:
    @dataclass(frozen=True)
    class Ends(AbstainRoute):
        action = Action.ESCALATE

    routes: Mapping[Action, Any] = {**plan().routes, Action.ESCALATE: Ends("over")}
    outcome, _ = play(plan(routes=routes), unsure)
    assert outcome.text == "I do not know."
    assert "ended instead of opening a round" in outcome.decision.detail


SAYINGS: st.SearchStrategy[Said] = st.sampled_from(["Nigeria", "Nigeria", "Ghana", "", *DECLINED.values(), CUT, DOWN])


@given(
    said=st.lists(SAYINGS, min_size=1, max_size=12),
    lazy=st.booleans(),
    profile=st.sampled_from([Profile(), Profile(n=1), Profile(n=2, logprobs=False)]),
    budget=st.builds(Budget, calls=st.none() | st.integers(1, 30), tokens=st.none() | st.integers(1, 200)),
    found=st.sampled_from([FOUND, ()]),
)
@example(said=["Nigeria"], lazy=False, profile=Profile(), budget=Budget(), found=FOUND)
@example(said=["Nigeria", "Nigeria", DOWN], lazy=False, profile=Profile(n=2), budget=Budget(tokens=49), found=FOUND)
def test_whatever_upstreams_say_every_step_is_observed_and_every_cost_is_counted_once(
    said: list[Said], lazy: bool, profile: Profile, budget: Budget, found: tuple[Passage, ...]
) -> None:
    turn = iter(range(10**6))
    made = plan("small", "large", passages=True, lazy=lazy, budget=budget)
    made = dataclasses.replace(made, profiles=dict.fromkeys(made.profiles, profile))
    stage = Play(lambda effect, place: said[next(turn) % len(said)], found)
    try:
        outcome = stage.run(answer(made, ASKED))
    except UpstreamError:
        assert stage.noted == ["small x1"], "only the first draft's failure leaves"
        return
    assert stage.steps == list(outcome.steps)
    assert outcome.cost == sum((step.cost for step in outcome.steps), Cost())
    assert outcome.cost == stage.charged
    assert not any(step.decision.action in (Action.ANSWER, Action.ABSTAIN) for step in outcome.steps[:-1])
    assert outcome.action is outcome.decision.action
    if outcome.answered:
        assert outcome.generation is not None
        assert outcome.generation.refusal is None
        assert outcome.generation.finish_reason != "length"
        assert outcome.text.strip()
        assert VoteShareCalibrator(5).confidence(outcome.steps[-1].signals, outcome.decision.stage).p >= 0.8


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_signal_that_gives_no_finite_number_is_missing(value: float) -> None:
    @dataclasses.dataclass(frozen=True)
    class Broken:
        name = "broken"
        needs = ()
        bounds = (0.0, 1.0)

        def measure(self, evidence: Evidence) -> float:
            return value

    (reading,) = measure((Broken(),), Evidence()).readings
    assert reading.value is None
    assert reading.missing == f"the signal gave {value}"


# --- memory against passages -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arbiter:
    """A calibrator that has a probability for each stage: closed book, with passages, and memory beside them."""

    own: float
    memory: float
    strange: tuple[bool, bool] = (False, False)
    """Whether the two with passages are out of range."""
    fingerprint: str = "arbiter"

    def check(self, signals: tuple[str, ...], stages: tuple[Stage, ...]) -> None:
        """Fits all."""

    def confidence(self, vector: SignalVector, stage: Stage) -> Confidence:
        if not stage.passages:
            return Confidence(0.3, 0.3, 0.3)
        p = self.memory if stage.memory else self.own
        return Confidence(p, p, p, out_of_distribution=self.strange[stage.memory])


def arbitrated(arbiter: Arbiter, script: Script, *, on: bool = True, answer_at: float = 0.6) -> tuple[Outcome, Play]:
    tiers = ((DraftSource(), ClosedBookSource()),)
    rule = ThresholdRule(answer_at=answer_at)
    return play(plan(passages=True, tiers=tiers, calibrator=arbiter, rule=rule, arbitrate=on), script)


def two_minds(effect: Generate, place: int) -> Said:
    return "Nigeria" if reading(effect) else "Ghana"


@pytest.mark.parametrize(
    ("arbiter", "said", "memory"),
    [
        (Arbiter(0.55, 0.72), "Ghana", True),
        (Arbiter(0.72, 0.55), "Nigeria", False),
        (Arbiter(0.72, 0.72), "Nigeria", False),
        (Arbiter(0.72, 0.9, (False, True)), "Nigeria", False),
        (Arbiter(0.99, 0.72, (True, False)), "Ghana", True),
        (Arbiter(0.99, 0.99, (True, True)), None, False),
        (Arbiter(0.5, 0.55), None, True),
    ],
)
def test_the_likelier_of_memory_and_passages_is_on_trial(arbiter: Arbiter, said: str | None, memory: bool) -> None:
    """The worked rule of situated faithfulness, with a threshold of .6."""
    outcome, stage = arbitrated(arbiter, two_minds)
    assert outcome.answered == (said is not None)
    assert outcome.decision.stage.memory is memory
    assert stage.noted[:4] == ["small x1", "retrieve: uncertain", "search", "small x1 reading"]
    assert len(stage.sent) == 2, "memory was asked in the round before"
    held_back = outcome.withheld.text if outcome.withheld else None
    assert held_back == (None if said is not None else "Ghana" if memory else "Nigeria"), "kept where nothing went out"
    if said is not None:
        assert outcome.text == said
        assert outcome.passages == (() if memory else FOUND)
        assert outcome.cited == (() if memory else ("lagos",))
        assert outcome.confidence == Confidence(*(arbiter.memory if memory else arbiter.own,) * 3)
    assert outcome.cost == stage.charged


def test_memory_is_heard_only_where_the_policy_says_so_and_it_says_otherwise() -> None:
    outcome, _ = arbitrated(Arbiter(0.55, 0.72), two_minds, on=False)
    assert (outcome.action, outcome.decision.stage) == (Action.ABSTAIN, Stage("small", True))
    agreed, _ = arbitrated(Arbiter(0.7, 0.9), always("Nigeria"))
    assert (agreed.decision.stage.memory, agreed.cited) == (False, ("lagos",))
    stopped = Generation("Ghana, which", STOPPED_EARLY)
    for nothing in ("", Generation("", refusal="no"), Generation("Ghana, which", "length"), stopped):
        outcome, _ = arbitrated(Arbiter(0.7, 0.9), lambda e, i, n=nothing: "Nigeria" if reading(e) else n)  # type: ignore[misc]
        assert outcome.text == "Nigeria"


def test_a_draft_that_was_cut_short_gives_way_to_what_memory_said() -> None:
    cut = Generation("Nigeria, which", "length")
    outcome, _ = arbitrated(Arbiter(0.99, 0.7), lambda e, i: cut if reading(e) else "Ghana")
    assert (outcome.text, outcome.decision.stage) == ("Ghana", Stage("small", True, memory=True))


def test_the_stages_come_in_order_and_memory_behind_the_draft_it_stands_beside() -> None:
    made = stages(("small", "large"), passages=True, tiers=2, memory_from=1)
    assert [stage.key for stage in made] == [
        f"{name}/{rest}"
        for name in ("small", "large")
        for rest in (
            "closed_book/tier0", "closed_book/tier1",
            "with_passages/tier0", "with_passages/tier1", "with_passages/tier1/memory",
        )
    ]  # fmt: skip
    assert stages(("small",), passages=False, tiers=1, memory_from=0) == (Stage("small"),)
    assert not any(stage.memory for stage in stages(("small",), passages=True, tiers=2))


# --- asking back -------------------------------------------------------------------------------------------------


def asking_back(*names: str, below: float = 0.9, prompt: bool = False, **changes: Any) -> Plan:
    """A plan that takes few agreeing samples for an ambiguous question."""
    made = plan(*names, **changes)
    route = ClarifyRoute(load("clarify") if prompt else None, text="Which Lagos?")
    return dataclasses.replace(made, routes={**made.routes, Action.CLARIFY: route}, clarify_below={"vote_share": below})


def test_an_ambiguous_question_is_asked_back_before_anything_else_is_tried() -> None:
    outcome, stage = play(asking_back("small", "large", passages=True), unsure)
    assert stage.noted == ["small x1", "small x5", "clarify: ambiguous"]
    assert (outcome.action, outcome.text, outcome.generation) == (Action.CLARIFY, "Which Lagos?", None)
    assert not outcome.answered
    assert outcome.cost == stage.charged


def test_the_call_for_the_question_is_counted_and_comes_before_the_decision_is_final() -> None:
    script: Script = lambda e, i: "Lagos in Nigeria?" if asks_back(e) else unsure(e, i)  # noqa: E731
    outcome, stage = play(asking_back(prompt=True), script)
    assert stage.noted == ["small x1", "small x5", "small x1", "clarify: ambiguous"]
    assert outcome.text == "Lagos in Nigeria?"
    assert outcome.cost == stage.charged == sum((step.cost for step in outcome.steps), Cost())


def asks_back(effect: Generate) -> bool:
    return "Write one short question" in effect.messages[-1].content


def test_without_a_call_left_it_is_asked_back_in_fixed_words() -> None:
    outcome, stage = play(asking_back(prompt=True, budget=Budget(calls=2)), unsure)
    assert stage.charged.calls == 2
    assert (outcome.action, outcome.text) == (Action.CLARIFY, "Which Lagos?")
    assert "no room" in outcome.decision.detail


def test_a_sure_answer_is_given_however_ambiguous_the_question() -> None:
    outcome, _ = play(asking_back(below=2.0), always("Nigeria"))
    assert outcome.answered


def test_who_was_just_asked_back_is_not_asked_again() -> None:
    turns = (Message("user", "Where is Lagos?"), Message("assistant", "Which Lagos?"), Message("user", "Any."))
    stage = Play(unsure)
    outcome = stage.run(answer(asking_back(), Question(turns)))
    assert outcome.action is Action.ABSTAIN


def test_a_signal_that_is_missing_tells_of_no_ambiguity() -> None:
    outcome, _ = play(asking_back(), lambda e, i: "Nigeria" if drafting(e) else DOWN)
    assert outcome.action is Action.ABSTAIN


def test_a_declined_draft_of_an_ambiguous_question_is_asked_back_as_that() -> None:
    outcome, _ = play(asking_back(), lambda e, i: DECLINED["refused"] if drafting(e) else unsure(e, i))
    assert (outcome.action, outcome.decision.reason) == (Action.CLARIFY, "ambiguous")


# --- retrieving first --------------------------------------------------------------------------------------------


def first(when: Any, *names: str, **changes: Any) -> Plan:
    return plan(*names, passages=True, retrieve_first=when, **changes)


def test_a_policy_may_search_before_the_first_draft() -> None:
    outcome, stage = play(first("always"), lambda e, i: "Nigeria")
    assert stage.noted == ["search", "small x1 reading", "small x5 reading", "answer: confident"]
    assert outcome.decision.stage.key == "small/with_passages/tier0"
    assert outcome.cost == stage.charged
    assert outcome.passages == FOUND


@pytest.mark.parametrize(
    ("text", "fresh"),
    [("Where is Lagos?", False), ("Who is the president of Nigeria?", True), ("What is the weather in Lagos?", True)],
)
def test_a_policy_may_search_first_for_what_changes_with_time_alone(text: str, fresh: bool) -> None:
    made, question, stage = first("fresh"), Question.from_text(text), Play(always("Nigeria"))
    stage.run(answer(made, question))
    assert made.begins_with_passages(question) is fresh
    assert (stage.noted[0] == "search") is fresh
    assert not first("never").begins_with_passages(question)
    assert not plan(retrieve_first="always").begins_with_passages(question), "there is no such route"


def test_where_nothing_is_found_first_it_begins_with_a_closed_book_and_says_so() -> None:
    outcome, stage = play(first("always"), always("Nigeria"), found=())
    assert stage.noted == ["search", "small x1", "small x5", "answer: confident"]
    assert outcome.decision.detail == "retrieve: no passage was found"
    assert outcome.cost == stage.charged
    outcome, stage = play(first("always"), unsure, found=())
    assert stage.noted[-1] == "abstain: no_passages"
    assert outcome.decision.detail == "retrieve: no passage was found"


def test_that_nothing_was_found_first_is_said_of_the_answer_however_many_steps_later() -> None:
    outcome, _ = play(
        first("always", "small", "large"), lambda e, i: "Nigeria" if e.upstream == "large" else unsure(e, i), found=()
    )
    assert (outcome.text, outcome.upstream) == ("Nigeria", "large")
    assert outcome.decision.detail == "retrieve: no passage was found"


def test_a_prompt_that_passages_made_too_long_is_no_reason_to_fail() -> None:
    too_long = UpstreamError("small", "HTTP 400", status=400)
    outcome, stage = play(first("always"), lambda e, i: too_long if reading(e) else "Nigeria")
    assert outcome.text == "Nigeria"
    assert "HTTP 400" in outcome.decision.detail
    assert outcome.cost == stage.charged
    with pytest.raises(UpstreamError, match="is down"):
        play(first("always"), lambda e, i: DOWN)


def test_an_unsure_first_draft_of_a_cautious_policy_goes_on_to_retrieve() -> None:
    tiers = ((DraftSource(cautious=True), SamplesSource(n=5, seed=1), MeaningsSource()),)
    script: Script = lambda e, i: "Nigeria" if reading(e) or e.n > 1 else "I don't know."  # noqa: E731
    outcome, stage = play(plan(passages=True, tiers=tiers), script)
    assert [note for note in stage.noted if ":" in note] == ["retrieve: model_declined", "answer: confident"]
    assert "only if you are sure" in stage.sent[0].messages[-1].content
    assert "only if you are sure" not in stage.sent[2].messages[-1].content
    assert outcome.text == "Nigeria"
    outcome, _ = play(plan(tiers=tiers, rule=ThresholdRule(answer_at=0.0)), script)
    assert (outcome.action, outcome.decision.reason) == (Action.ABSTAIN, "model_declined")


# --- what can fail, and what is said of it -----------------------------------------------------------------------

TIMED_OUT = UpstreamTimeout("large", "did not answer before the deadline")
REFUSING = Generation("I will not.", refusal="I will not.")
PAIR = (Passage("a", "Lagos lies in Nigeria."), Passage("b", "Lagos lies in Portugal."))


def torn(effect: Generate, place: int) -> Said:
    """What is said of passages that contradict each other: now the one, now the other."""
    return ("Nigeria", "Portugal")[place % 2]


def refusing_above(effect: Generate, place: int) -> Said:
    return REFUSING if effect.upstream == "large" else unsure(effect, place)


@pytest.mark.parametrize(
    ("made", "script", "found", "reason", "detail"),
    [
        (plan(passages=True), unsure, None, "retriever_failed", "retrieve: the retriever 'world' is down"),
        (plan(passages=True), unsure, (), "no_passages", "retrieve: no passage was found"),
        (plan(passages=True), torn, PAIR, "uncertain", ""),
        (
            plan("small", "large"),
            lambda e, i: TIMED_OUT if e.upstream == "large" else unsure(e, i),
            (),
            "upstream_timeout",
            "escalate: upstream 'large': did not answer before the deadline",
        ),
        (plan("small", "large"), refusing_above, (), "model_declined", ""),
        (plan("small", "large", passages=True, prices={}), unsure, FOUND, "uncertain", ""),
        (plan("small", "large", passages=True, budget=Budget(calls=2)), unsure, FOUND, "budget_spent", ""),
        (plan(budget=Budget(tokens=5)), unsure, FOUND, "budget_spent", ""),
    ],
    ids=[
        "retriever down", "retriever empty", "passages contradict", "strong model times out", "strong model refuses",
        "prices missing", "budget too small for any way", "budget too small for a draft",
    ],
)  # fmt: skip
def test_whatever_fails_it_is_refused_with_a_reason_that_names_it(
    made: Plan, script: Script, found: tuple[Passage, ...] | None, reason: str, detail: str
) -> None:
    stage = Searchless(script) if found is None else Play(script, found)
    routes = {**made.routes, Action.ABSTAIN: AbstainRoute()}
    outcome = stage.run(answer(dataclasses.replace(made, routes=routes), ASKED))
    assert outcome.action is Action.ABSTAIN
    assert (outcome.decision.reason, outcome.decision.detail) == (reason, detail)
    assert outcome.text == refusal(reason, "en")
    assert outcome.cost == stage.charged


class Searchless(Play):
    """No search works."""

    def perform(self, effect: Effect) -> Any:
        if isinstance(effect, Retrieve):
            raise search_failed(effect, UpstreamError(effect.retriever, "is down"))
        return super().perform(effect)


# --- anyone's routes and rules -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnyRoute:
    """Goes to a round of its choice, ends, or fails, as it was told."""

    action: Action
    does: str

    def open(self, round_: Round) -> bool:
        return True

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        yield from ()
        if self.does == "fails":
            raise EvidenceUnavailable("this way leads nowhere")
        if self.does == "ends":
            return Ending("over")
        further = round_.number + 1
        asked = ("again", "other")[further % 2] if self.does == "alternates" else self.does
        if self.does == "new":
            asked = str(further)
        return dataclasses.replace(round_, number=further, messages=(Message("user", asked),), cost=Cost())


@dataclass(frozen=True)
class AnyRule:
    """Chooses what it was told, in turn, whether it is open or not."""

    choices: tuple[Action, ...]

    def decide(self, confidence: Confidence, stage: Stage, open_actions: frozenset[Action]) -> Decision:
        place = int(confidence.p * 1000) + len(open_actions)
        return Decision(self.choices[place % len(self.choices)], "uncertain", stage, confidence)


WAYS = st.sampled_from(["again", "other", "alternates", "new", "ends", "fails"])


@settings(max_examples=80, deadline=None)
@given(
    routes=st.dictionaries(st.sampled_from([a for a in Action if a is not Action.GATHER]), WAYS),
    choices=st.lists(st.sampled_from(list(Action)), min_size=1, max_size=4).map(tuple),
    said=st.lists(st.sampled_from(["Nigeria", "Ghana", "", DECLINED["refused"], CUT]), min_size=1, max_size=7),
    lazy=st.booleans(),
)
def test_whatever_routes_and_rules_do_it_ends_and_asks_no_round_twice(
    routes: dict[Action, str], choices: tuple[Action, ...], said: list[Said], lazy: bool
) -> None:
    turn = iter(range(10**6))
    made = plan("small", "large", passages=True, lazy=lazy, rule=AnyRule(choices))
    foreign = {action: AnyRoute(action, does) for action, does in routes.items()}
    made = dataclasses.replace(made, routes={**made.routes, **foreign}, clarify_below={"vote_share": 0.5})
    stage = Play(lambda effect, place: said[next(turn) % len(said)])
    outcome = stage.run(answer(made, ASKED))
    assert outcome.action in ENDS
    assert outcome.action is outcome.decision.action
    assert len(outcome.steps) <= 65
    assert outcome.cost == stage.charged
    drafts = [(effect.upstream, effect.messages) for effect in stage.sent if drafting(effect)]
    assert len(drafts) == sum(drafts.index(each) == place for place, each in enumerate(drafts)), "a round came twice"


def test_a_round_that_was_visited_before_closes_the_way_to_it() -> None:
    routes = {**plan().routes, Action.ESCALATE: AnyRoute(Action.ESCALATE, "again")}
    outcome, stage = play(plan(routes=routes), unsure)
    assert [note for note in stage.noted if ":" in note] == ["escalate: uncertain"] * 2 + ["abstain: uncertain"]
    assert outcome.decision.detail == "escalate: visited before"


def test_a_rule_that_chooses_what_is_not_open_abstains() -> None:
    outcome, _ = play(plan(rule=AnyRule((Action.ESCALATE,))), unsure)
    assert outcome.action is Action.ABSTAIN
    assert outcome.decision.detail == "the rule chose to escalate, which is not open"


@pytest.mark.parametrize(("action", "text"), [(Action.ANSWER, "I do not know."), (Action.ABSTAIN, "")])
def test_an_ending_that_fails_is_an_abstention(action: Action, text: str) -> None:
    routes = {**plan().routes, action: AnyRoute(action, "fails")}
    outcome, _ = play(plan(routes=routes), always("Nigeria") if action is Action.ANSWER else unsure)
    assert (outcome.action, outcome.text) == (Action.ABSTAIN, text)
    assert "this way leads nowhere" in outcome.decision.detail


def test_no_more_is_asked_side_by_side_than_the_budget_allows() -> None:
    outcome, stage = play(plan(budget=Budget(fan_out=4)), unsure)
    assert [effect.n for effect in stage.sent] == [1]
    reading = next(each for each in outcome.steps[0].signals.readings if each.signal == "vote_share")
    assert "fan_out allows 4" in (reading.missing or "")


def test_a_hedged_answer_is_an_abstention_outside_the_promise() -> None:
    routes = {**plan().routes, Action.ABSTAIN: AbstainRoute("No.", hedge_above=0.0)}
    outcome, _ = play(plan(routes=routes), unsure)
    assert (outcome.action, outcome.hedged, outcome.generation) == (Action.ABSTAIN, True, None)
    assert not outcome.answered
    assert outcome.text == "I am not sure, but it may be: Ghana"
