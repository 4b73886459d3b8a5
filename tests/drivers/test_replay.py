"""Replaying a recording: what it can judge, and what it must not guess."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.drivers import Recording, ReplayDriver
from gate.drivers.world import tape_entry
from gate.effects import Generate, generate
from gate.errors import ReplayGap
from gate.pipeline import answer
from gate.types import Action, Budget, Cost, Generation, Generations, Question, TapeEntry, TokenLogprob, Usage
from tests.drivers.running import ASKED, MESSAGES, run
from tests.scripted import Scripted, always, plan_over, world_of


def test_a_replay_judges_a_stricter_policy_and_says_when_it_cannot() -> None:
    upstreams = {"small": Scripted("small", always("Nigeria"))}
    _, recording = run(world_of(upstreams), answer(plan_over(upstreams), ASKED), threaded=True)
    stricter = ReplayDriver(recording.tape).run(answer(plan_over(upstreams, answer_at=0.99), ASKED), Recording())
    assert stricter.action is Action.ABSTAIN
    with pytest.raises(ReplayGap):
        ReplayDriver(recording.tape).run(
            answer(plan_over(upstreams), Question.from_text("Where is Paris?")), Recording()
        )


def recorded(length: int, *, cap: int | None, finish: str = "stop", tokens: bool = True) -> tuple[Generate, TapeEntry]:
    asked = Generate("small", MESSAGES, cap=cap)
    listed = tuple(TokenLogprob("x", -0.1) for _ in range(length)) if tokens else None
    said = Generations((Generation("x" * length, finish, listed),), Usage(1, length))
    return asked, tape_entry(asked, Cost(calls=1), said)


@pytest.mark.parametrize(
    ("length", "cap", "finish", "now", "tells"),
    [
        (10, None, "stop", None, True),
        (10, 50, "stop", 12, True),
        (10, 50, "stop", None, True),
        (10, 50, "stop", 9, False),
        (10, None, "stop", 9, False),
        (50, 50, "length", 50, True),
        (50, 50, "length", 60, False),
        (50, 50, "length", None, False),
    ],
)
@pytest.mark.parametrize("tokens", [True, False], ids=["listed", "counted"])
def test_an_answer_stands_for_another_budget_unless_it_would_have_been_cut_elsewhere(
    length: int, cap: int | None, finish: str, now: int | None, tells: bool, tokens: bool
) -> None:
    asked, entry = recorded(length, cap=cap, finish=finish, tokens=tokens)
    flow = generate(replace(asked, cap=now))
    if tells:
        assert ReplayDriver([entry]).run(flow, Recording()).value == entry.generations
    else:
        with pytest.raises(ReplayGap, match="budget"):
            ReplayDriver([entry]).run(flow, Recording())


def test_what_the_caller_cut_stands_for_every_budget_above() -> None:
    asked, entry = recorded(20, cap=50, finish="length")
    asked = replace(asked, max_tokens=20)
    entry = tape_entry(asked, entry.cost, entry.generations)
    assert ReplayDriver([entry]).run(generate(replace(asked, cap=99)), Recording()).value == entry.generations


def test_a_trace_recorded_under_a_budget_of_tokens_is_judged_without_one() -> None:
    upstreams = {"small": Scripted("small", always("Nigeria"))}
    outcome, recording = run(
        world_of(upstreams), answer(plan_over(upstreams, budget=Budget(tokens=500)), ASKED), threaded=True
    )
    assert ReplayDriver(recording.tape).run(answer(plan_over(upstreams), ASKED), Recording()) == outcome
