"""Full evidence visits every stage, and its tape serves every policy over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.drivers import Recording, ReplayDriver, ThreadedDriver, World
from gate.effects import Generate
from gate.errors import UpstreamError
from gate.evidence import ClosedBookSource, DraftSource, MeaningsSource, SamplesSource
from gate.full_evidence import Seen, draft_key, full_evidence
from gate.pipeline import Plan, answer
from gate.prompts import load
from gate.routes import ClarifyRoute
from gate.rules import ThresholdRule
from gate.types import Action, Cost, Generations, Passage, Question, Stage
from tests.scripted import Answer, Scripted, always, plan_over, world_of

ASKED = Question.from_text("Where is Lagos?")


def test_every_stage_is_seen_and_any_threshold_can_be_replayed() -> None:
    upstreams = {"small": Scripted("small", lambda e, i: f"{i}"), "large": Scripted("large", always("Nigeria"))}
    plan = plan_over(upstreams, passages=True)
    recording = Recording()
    driver = ThreadedDriver(world_of(upstreams))
    seen = driver.run(full_evidence(plan, ASKED), recording)
    driver.close()
    assert [s.stage.key for s in seen] == [
        "small/closed_book/tier0",
        "small/with_passages/tier0",
        "large/closed_book/tier0",
        "large/with_passages/tier0",
    ]
    assert [s.draft for s in seen] == ["0", "0", "Nigeria", "Nigeria"]
    for threshold, action in ((0.1, Action.ANSWER), (0.8, Action.ANSWER), (0.99, Action.ABSTAIN)):
        outcome = ReplayDriver(recording.tape).run(
            answer(plan_over(upstreams, passages=True, answer_at=threshold), ASKED), Recording()
        )
        assert outcome.action is action


def run(plan: Plan, world: World, question: Question = ASKED) -> tuple[tuple[Seen, ...], Recording]:
    recording, driver = Recording(), ThreadedDriver(world)
    try:
        return driver.run(full_evidence(plan, question), recording), recording
    finally:
        driver.close()


def keys(seen: tuple[Seen, ...]) -> list[str]:
    return [each.stage.key for each in seen]


def two_tiers(upstreams: dict[str, Scripted], **how: Any) -> Plan:
    return replace(
        plan_over(upstreams, **how), tiers=((DraftSource(),), (SamplesSource(n=5, seed=1), MeaningsSource()))
    )


def test_each_stage_costs_what_came_since_the_one_before_and_all_of_them_what_the_tape_did() -> None:
    upstreams = {"small": Scripted("small", always("Ghana")), "large": Scripted("large", always("Nigeria"))}
    seen, recording = run(two_tiers(upstreams, passages=True), world_of(upstreams))
    assert [(each.cost.calls, each.cost.prompt_tokens, each.cost.completion_tokens) for each in seen] == [
        (1, 10, 3),
        (1, 10, 15),
    ] * 4
    for each in seen:
        asked = each.cost
        assert asked.money == pytest.approx((asked.prompt_tokens * 1.0 + asked.completion_tokens * 2.0) / 1e6)
    assert sum(each.cost.money for each in seen) == pytest.approx(sum(entry.cost.money for entry in recording.tape))
    assert [entry.kind for entry in recording.tape].count("retrieve") == 2
    # the search is part of what coming to the passages cost
    search = recording.tape[2]
    assert search.kind == "retrieve"
    assert seen[2].cost.seconds >= search.cost.seconds > 0


@pytest.mark.parametrize("draft", ["", "  \n"])
def test_a_draft_that_says_nothing_is_declined_and_seen_all_the_same(draft: str) -> None:
    upstreams = {"small": Scripted("small", always(draft)), "large": Scripted("large", always("Nigeria"))}
    seen, _ = run(plan_over(upstreams), world_of(upstreams))
    assert [(each.declined, each.cut_short) for each in seen] == [(True, False), (False, False)]


def test_a_draft_that_was_cut_short_says_so_and_the_evidence_is_had_all_the_same() -> None:
    class Cut(Scripted):
        def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
            said = super().complete(effect, cancelled)
            return replace(said, choices=tuple(replace(choice, finish_reason="length") for choice in said.choices))

    upstreams: dict[str, Scripted] = {"small": Cut("small", always("Nig"))}
    seen, _ = run(two_tiers(upstreams), world_of(upstreams))
    assert [(each.stage.tier, each.cut_short, each.declined) for each in seen] == [(0, True, False), (1, True, False)]
    assert seen[1].vector.value("vote_share") == 1.0


def test_a_later_upstream_that_fails_leaves_its_stages_out() -> None:
    upstreams = {
        "small": Scripted("small", always("Ghana")),
        "middle": Scripted("middle", lambda e, i: UpstreamError("middle", "is down")),
        "large": Scripted("large", always("Nigeria")),
    }
    seen, recording = run(plan_over(upstreams, passages=True), world_of(upstreams))
    # a ladder without it, or a rule that goes past it, comes to the one behind
    assert keys(seen) == [f"{n}/{b}/tier0" for n in ("small", "large") for b in ("closed_book", "with_passages")]
    assert sum(entry.failure is not None for entry in recording.tape) == 1


def test_a_draft_with_passages_that_fails_leaves_the_next_upstream_in() -> None:
    def picky(effect: Generate, place: int) -> Answer:
        return UpstreamError("small", "context too long") if "passages" in effect.messages[-1].content else "Ghana"

    upstreams = {"small": Scripted("small", picky), "large": Scripted("large", always("Nigeria"))}
    seen, _ = run(plan_over(upstreams, passages=True), world_of(upstreams))
    assert keys(seen) == ["small/closed_book/tier0", "large/closed_book/tier0", "large/with_passages/tier0"]


def test_samples_that_fail_are_missing_and_the_stage_is_seen() -> None:
    upstreams = {"small": Scripted("small", lambda e, i: UpstreamError("small", "is busy") if e.n > 1 else "Ghana")}
    seen, _ = run(two_tiers(upstreams), world_of(upstreams))
    assert keys(seen) == ["small/closed_book/tier0", "small/closed_book/tier1"]
    assert seen[1].vector.value("vote_share") is None
    assert seen[1].cost.calls == 1


def test_without_a_first_draft_there_is_nothing() -> None:
    upstreams = {"small": Scripted("small", lambda e, i: UpstreamError("small", "is down"))}
    with pytest.raises(UpstreamError, match="is down"):
        run(plan_over(upstreams), world_of(upstreams))


def test_where_nothing_is_found_there_are_no_stages_with_passages() -> None:
    upstreams = {"small": Scripted("small", always("Ghana")), "large": Scripted("large", always("Nigeria"))}
    seen, _ = run(plan_over(upstreams, passages=True), world_of(upstreams), Question.from_text("Xyzzy?"))
    assert keys(seen) == ["small/closed_book/tier0", "large/closed_book/tier0"]


def test_passages_that_came_with_the_question_are_read_without_a_search() -> None:
    given = (Passage("1", "Lagos lies in Nigeria, says the file."),)
    upstreams = {"small": Scripted("small", always("Ghana")), "large": Scripted("large", always("Nigeria"))}
    seen, recording = run(plan_over(upstreams, passages=True), world_of(upstreams), replace(ASKED, passages=given))
    assert len(seen) == 4
    assert "retrieve" not in {entry.kind for entry in recording.tape}
    for upstream in upstreams.values():
        quoted = [e.messages[-1].content for e in upstream.asked if "says the file" in e.messages[-1].content]
        assert len(quoted) == 2  # the draft and the samples


ANSWERS = st.sampled_from(["Nigeria", "Ghana", ""])


@settings(max_examples=40, deadline=None)
@given(st.lists(ANSWERS, min_size=24, max_size=24), st.floats(0.1, 0.9), st.booleans())
def test_any_policy_over_the_stages_is_told_from_the_tape(answers: list[str], at: float, escalate_first: bool) -> None:
    """Whatever the models say: the pipeline on the tape does what it does on the models themselves."""

    def said(effect: Generate, place: int) -> Answer:
        passages = "passages" in effect.messages[-1].content
        return answers[12 * (effect.upstream == "large") + 6 * passages + (0 if effect.n == 1 else 1 + place)]

    def upstreams() -> dict[str, Scripted]:
        return {name: Scripted(name, said) for name in ("small", "large")}

    known = upstreams()
    ways = (Action.ESCALATE, Action.RETRIEVE) if escalate_first else (Action.RETRIEVE, Action.ESCALATE)
    plan = replace(two_tiers(known, passages=True), rule=ThresholdRule(answer_at=at, otherwise=ways))
    _, recording = run(plan, world_of(known))
    replayed = ReplayDriver(recording.tape).run(answer(plan, ASKED), Recording())
    live = ThreadedDriver(world_of(upstreams()))
    try:
        outcome = live.run(answer(plan, ASKED), Recording())
    finally:
        live.close()
    assert (replayed.action, replayed.text, replayed.upstream) == (outcome.action, outcome.text, outcome.upstream)
    assert [s.decision for s in replayed.steps] == [s.decision for s in outcome.steps]
    assert (replayed.cost.calls, replayed.cost.tokens) == (outcome.cost.calls, outcome.cost.tokens)


@pytest.mark.parametrize(("memory", "heard"), [("Ghana", True), ("Nigeria.", False), ("", False)])
def test_memory_that_says_otherwise_is_a_stage_at_no_further_cost(memory: str, heard: bool) -> None:
    upstreams = {"small": Scripted("small", lambda e, i: "Nigeria" if "city" in e.messages[-1].content else memory)}
    plan = replace(plan_over(upstreams, passages=True), tiers=((DraftSource(), ClosedBookSource()),), arbitrate=True)
    seen, _ = run(plan, world_of(upstreams))
    assert keys(seen) == ["small/closed_book/tier0", "small/with_passages/tier0"] + heard * [
        "small/with_passages/tier0/memory"
    ]
    if heard:
        beside, last = seen[-2:]
        assert (last.draft, last.cost, last.declined, last.cut_short) == (memory, Cost(), False, False)
        assert (last.vector, last.evidence) == (beside.vector, beside.evidence)
        assert {draft_key(each.stage): each.draft for each in seen} == {
            "small/closed_book": "Ghana",
            "small/with_passages": "Nigeria",
            "small/with_passages/memory": "Ghana",
        }
    unheard, _ = run(replace(plan, arbitrate=False), world_of(upstreams))
    assert len(unheard) == 2


def test_an_answer_from_memory_is_kept_by_itself() -> None:
    assert draft_key(Stage("small", True, 1, memory=True)) == "small/with_passages/memory"
    assert draft_key(Stage("small", tier=1)) == "small/closed_book"
    assert draft_key(Stage("small", True)) == "small/with_passages"


def test_a_policy_that_searches_first_sees_every_stage_and_is_told_from_the_tape() -> None:
    upstreams = {"small": Scripted("small", lambda e, i: f"{len(e.messages[-1].content) > 60}")}
    made = replace(plan_over(upstreams, passages=True), retrieve_first="always")
    made = replace(made, tiers=((*made.tiers[0], ClosedBookSource()),))
    seen, recording = run(made, world_of(upstreams))
    assert keys(seen) == ["small/closed_book/tier0", "small/with_passages/tier0"]
    outcome = ReplayDriver(recording.tape).run(answer(made, ASKED), Recording())
    assert [step.decision.stage.key for step in outcome.steps] == ["small/with_passages/tier0"]
    assert outcome.text == "True"


def test_what_is_asked_back_is_on_the_tape_too() -> None:
    def says(effect: Generate, place: int) -> str:
        return "Which Lagos?" if "Write one short question" in effect.messages[-1].content else f"{place}"

    upstreams = {"small": Scripted("small", says)}
    made = plan_over(upstreams, passages=True)
    routes = {**made.routes, Action.CLARIFY: ClarifyRoute(load("clarify"))}
    made = replace(made, routes=routes, clarify_below={"vote_share": 0.5})
    seen, recording = run(made, world_of(upstreams))
    assert len(seen) == 2
    outcome = ReplayDriver(recording.tape).run(answer(made, ASKED), Recording())
    assert (outcome.action, outcome.text) == (Action.CLARIFY, "Which Lagos?")
