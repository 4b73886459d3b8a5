"""The pipeline by its playbook: for what every upstream says, exactly what is asked, decided and spent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gate.calibration import VoteShareCalibrator
from gate.effects import Effect, Flow, Generate, Observe, Reply, Retrieve, Together
from gate.errors import StaleCalibrator, UpstreamError
from gate.evidence import DraftSource, MeaningsSource, SamplesSource
from gate.pipeline import Plan, answer, measure
from gate.ports import Ending, Evidence, Profile, Round
from gate.routes import AbstainRoute
from gate.rules import ThresholdRule
from gate.types import (
    Action,
    Budget,
    Confidence,
    Cost,
    Decision,
    Generation,
    Generations,
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
            except UpstreamError as error:
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
                error = UpstreamError(one.upstream, one.cause)
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
    assert outcome.generation == generation("Nigeria")
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
    assert stage.noted == ["small x1", "small x5", "retrieve: uncertain", "search", "abstain: uncertain"]
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
    assert stage.noted == ["small x1", "small x5", "escalate: uncertain", "large x1", "abstain: uncertain"]
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


def test_a_frozen_plan_abstains_whatever_it_is_told() -> None:
    outcome, stage = play(plan("small", "large", passages=True, frozen="certificate_void"), always("Nigeria"))
    assert [note for note in stage.noted if ":" in note] == ["abstain: certificate_void"]
    assert (outcome.text, outcome.generation) == ("I do not know.", None)


# --- whatever happens --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Again:
    """A route that opens another round for ever."""

    action: Action = Action.ESCALATE

    def open(self, round_: Round) -> bool:
        return True

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        yield from ()
        return dataclasses.replace(round_, number=round_.number + 1)


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
