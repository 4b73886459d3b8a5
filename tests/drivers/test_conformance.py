"""What every driver must do: equal outcomes, replay without calls, deadlines, one failure ends the rest."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import pytest

from gate.drivers import Recording, ReplayDriver, World
from gate.effects import Embed, Entail, Generate, Reply, embed, entail, generate, together
from gate.errors import ReplayGap, UpstreamError, UpstreamTimeout
from gate.pipeline import answer
from gate.ports import Price
from gate.types import Action, Cost, Entailment, Entailments, Outcome
from gate.upstreams import OpenAIChat
from tests.drivers.running import ASKED, MESSAGES, both, doubtful, run, untimed
from tests.scripted import Scripted, always, plan_over, world_of

SCENES: dict[str, tuple[Callable[[], dict[str, Scripted]], Action, str]] = {
    "answers at once": (lambda: {"small": Scripted("small", always("Nigeria"))}, Action.ANSWER, "Nigeria"),
    "reads, then answers": (lambda: {"small": Scripted("small", doubtful)}, Action.ANSWER, "Nigeria"),
    "escalates past a failing search for agreement": (
        lambda: {
            "small": Scripted("small", lambda e, i: ("a", "b", "c", "d", "e")[i]),
            "large": Scripted("large", always("Nigeria")),
        },
        Action.ANSWER,
        "Nigeria",
    ),
    "abstains": (lambda: {"small": Scripted("small", lambda e, i: f"{e.seed} {i}")}, Action.ABSTAIN, "I do not know."),
}


@pytest.mark.parametrize("scene", SCENES)
def test_drivers_give_equal_outcomes_and_a_replay_repeats_them_with_no_calls(scene: str) -> None:
    build, action, text = SCENES[scene]
    outcomes = []
    for threaded in (True, False):
        upstreams = build()
        plan = plan_over(upstreams, passages=True)
        outcome, recording = run(world_of(upstreams), answer(plan, ASKED), threaded=threaded)
        calls = sum(len(u.asked) for u in upstreams.values())
        replayed = ReplayDriver(recording.tape).run(answer(plan, ASKED), again := Recording())
        assert sum(len(u.asked) for u in upstreams.values()) == calls > 0
        assert replayed == outcome
        assert again.steps == recording.steps == list(replayed.steps)
        outcomes.append(untimed(outcome))
    assert outcomes[0] == outcomes[1]
    assert (outcomes[0].action, outcomes[0].text) == (action, text)


@both
def test_costs_add_up_calls_tokens_and_money(threaded: bool) -> None:
    upstreams = {"small": Scripted("small", always("Nigeria"))}
    outcome, _ = run(world_of(upstreams), answer(plan_over(upstreams), ASKED), threaded=threaded)
    assert isinstance(outcome, Outcome)
    assert (outcome.cost.calls, outcome.cost.prompt_tokens, outcome.cost.completion_tokens) == (2, 20, 18)
    assert outcome.cost.money == pytest.approx((20 * 1.0 + 18 * 2.0) / 1e6)
    assert outcome.cost == sum((step.cost for step in outcome.steps), Cost())


@both
def test_the_deadline_ends_a_run_whatever_the_upstream_does(threaded: bool) -> None:
    slow = Scripted("small", always("Nigeria"), seconds=30)
    began = time.monotonic()
    with pytest.raises(UpstreamTimeout, match="small"):
        run(world_of({"small": slow}), answer(plan_over({"small": slow}), ASKED), threaded=threaded, seconds=0.2)
    assert time.monotonic() - began < 5
    assert slow.cancelled.wait(5), "the call under way was not cancelled"


@both
def test_an_upstreams_own_timeout_is_kept(threaded: bool) -> None:
    slow = Scripted("small", always("Nigeria"), seconds=30)
    with pytest.raises(UpstreamTimeout):
        run(world_of({"small": slow}, {"small": 0.2}), answer(plan_over({"small": slow}), ASKED), threaded=threaded)


@both
def test_one_failure_among_flows_side_by_side_gives_up_the_others(threaded: bool) -> None:
    slow = Scripted("slow", always("x"), seconds=30)
    broken = Scripted("broken", lambda e, i: UpstreamError("broken", "is down"), seconds=0.1)
    flow = together(generate(Generate(name, MESSAGES)) for name in ("broken", "slow"))
    began = time.monotonic()
    with pytest.raises(UpstreamError, match="is down"):
        run(world_of({"slow": slow, "broken": broken}), flow, threaded=threaded)
    assert time.monotonic() - began < 5
    assert slow.cancelled.wait(5)


def closed_port() -> OpenAIChat:
    options = OpenAIChat.Options(base_url="http://127.0.0.1:9/v1", model="m")
    return OpenAIChat.from_options("mine", options, Price())


@both
def test_a_server_that_is_down_is_named(threaded: bool) -> None:
    with pytest.raises(UpstreamError, match="'mine': cannot be reached"):
        run(World({"mine": closed_port()}), generate(Generate("mine", MESSAGES)), threaded=threaded, seconds=20)


@both
def test_embeddings_are_asked_of_an_embedder_and_replayed(threaded: bool) -> None:
    flow = embed(Embed("hashed", ("Lagos", "Where is Lagos?")))
    reply, recording = run(world_of({}), flow, threaded=threaded)
    assert isinstance(reply, Reply)
    assert len(reply.value.rows) == 2
    assert (reply.cost.calls, reply.cost.tokens) == (0, 0)
    again = ReplayDriver(recording.tape).run(embed(Embed("hashed", ("Lagos", "Where is Lagos?"))), Recording())
    assert again == reply
    with pytest.raises(ReplayGap, match="embeddings of 'hashed'"):
        ReplayDriver(recording.tape).run(embed(Embed("hashed", ("Paris",))), Recording())


@dataclasses.dataclass(frozen=True)
class Follows:
    """An entailment judge: what a premise contains follows from it."""

    name: str = "follows"
    price: Price = Price()
    fingerprint: str = "follows"

    def complete(self, effect: Entail, cancelled: Callable[[], bool]) -> Entailments:
        if any("down" in premise for premise, _ in effect.pairs):
            raise UpstreamError(self.name, "is down")
        return Entailments(
            tuple(Entailment(*((1.0, 0.0, 0.0) if h in p else (0.0, 0.2, 0.8))) for p, h in effect.pairs)
        )


@both
def test_verdicts_are_asked_of_a_judge_and_replayed(threaded: bool) -> None:
    world = World({}, judges={"follows": Follows()})
    asked = Entail("follows", (("Lagos is in Nigeria", "Nigeria"), ("Lagos", "Ghana")))
    reply, recording = run(world, entail(asked), threaded=threaded)
    assert isinstance(reply, Reply)
    assert [verdict.entailment for verdict in reply.value.verdicts] == [1.0, 0.0]
    assert ReplayDriver(recording.tape).run(entail(asked), Recording()) == reply
    with pytest.raises(UpstreamError, match="is down"):
        run(world, entail(Entail("follows", (("down", "x"),))), threaded=threaded)
