"""What every driver must do: equal outcomes, replay without calls, deadlines, one failure ends the rest."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable

import pytest

from gate.drivers import Recording, ReplayDriver, World
from gate.effects import Call, Embed, Entail, Flow, Generate, Reply, call, embed, entail, generate, together
from gate.errors import MissingExtra, ReplayGap, RequestError, UpstreamError, UpstreamTimeout
from gate.pipeline import answer
from gate.ports import Price
from gate.types import Action, Cost, Entailment, Entailments, Generation, Generations, Outcome
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


# --- code of the caller's ----------------------------------------------------------------------------------------


def calling(function: Callable[[], object], *, threaded: bool, own_words: bool = False) -> Flow[object]:
    async def awaited() -> object:
        return function()

    return call(Call("mine", function if threaded else awaited, own_words))


@both
def test_code_of_the_callers_gives_what_it_gives_and_nothing_is_recorded(threaded: bool) -> None:
    reply = Generations((Generation("Nigeria"),))
    given, recording = run(World({}), calling(lambda: reply, threaded=threaded), threaded=threaded)
    assert given is reply
    assert recording.tape == [], "whoever asks for it records what comes of it"


@both
@pytest.mark.parametrize("fault", [RuntimeError("the user's own words"), KeyError("secret"), TimeoutError("late")])
def test_its_faults_are_an_upstreams_and_only_their_kind_is_told(threaded: bool, fault: Exception) -> None:
    def breaks() -> object:
        raise fault

    with pytest.raises(UpstreamError) as caught:
        run(World({}), calling(breaks, threaded=threaded), threaded=threaded)
    assert str(caught.value) == f"upstream 'mine': failed: {type(fault).__name__}"
    assert caught.value.__cause__ is fault


@both
@pytest.mark.parametrize("own_words", [True, False])
def test_an_upstreams_failure_goes_on_as_it_is_where_it_is_in_gates_own_words(threaded: bool, own_words: bool) -> None:
    failure = UpstreamError("theirs", "cannot tell: the user's own words", status=503)

    def breaks() -> object:
        raise failure

    with pytest.raises(UpstreamError) as caught:
        run(World({}), calling(breaks, threaded=threaded, own_words=own_words), threaded=threaded)
    assert (caught.value is failure) is own_words
    assert ("words" in str(caught.value)) is own_words


@both
def test_any_other_error_of_gates_own_is_a_failure_of_which_only_the_kind_is_told(threaded: bool) -> None:
    def breaks() -> object:
        raise RequestError("the question is empty: 'Where is my user?'")

    with pytest.raises(UpstreamError) as caught:
        run(World({}), calling(breaks, threaded=threaded), threaded=threaded)
    assert str(caught.value) == "upstream 'mine': failed: RequestError"


@both
@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_no_fault_of_an_upstream(threaded: bool, end: type[BaseException]) -> None:
    def ends() -> object:
        raise end

    with pytest.raises(end):
        run(World({}), calling(ends, threaded=threaded), threaded=threaded)


@both
def test_nothing_of_the_callers_is_called_after_the_deadline(threaded: bool) -> None:
    called = []
    with pytest.raises(UpstreamTimeout, match="'mine': was not asked"):
        run(World({}), calling(lambda: called.append(1), threaded=threaded), threaded=threaded, seconds=0)
    assert called == []


# --- upstreams that can be awaited -------------------------------------------------------------------------------


class Awaited(Scripted):
    """Notes where it was asked."""

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        self.asked_on = threading.current_thread()
        return super().complete(effect, cancelled)

    async def acomplete(self, effect: Generate) -> Generations:
        await asyncio.sleep(0)
        return self.complete(effect, lambda: False)


@both
def test_an_upstream_that_can_be_awaited_is_where_there_is_a_loop(threaded: bool) -> None:
    mine = Awaited("mine", always("Nigeria"))
    reply, recording = run(World({"mine": mine}), generate(Generate("mine", MESSAGES)), threaded=threaded)
    assert isinstance(reply, Reply)
    assert reply.value.choices[0].text == "Nigeria"
    assert (mine.asked_on is threading.current_thread()) is not threaded
    assert (recording.tape[0].cost.calls, recording.tape[0].cost.prompt_tokens) == (1, 10)


@both
def test_its_faults_are_told_as_those_of_any_upstream(threaded: bool) -> None:
    def breaks(effect: Generate, place: int) -> str:
        raise ValueError("the user's own words")

    with pytest.raises(UpstreamError, match=r"'mine': failed: ValueError$") as caught:
        run(World({"mine": Awaited("mine", breaks)}), generate(Generate("mine", MESSAGES)), threaded=threaded)
    assert caught.value.cost is not None


@both
def test_what_it_lacks_to_run_is_no_fault_of_a_server(threaded: bool) -> None:
    def lacks(effect: Generate, place: int) -> str:
        raise MissingExtra("theirs", "more")

    with pytest.raises(MissingExtra, match="'theirs'"):
        run(World({"mine": Awaited("mine", lacks)}), generate(Generate("mine", MESSAGES)), threaded=threaded)


@both
def test_it_is_asked_again_where_that_may_help(threaded: bool) -> None:
    mine = Awaited("mine", lambda e, i: "Nigeria" if len(mine.asked) > 1 else busy)
    busy = UpstreamError("mine", "is busy", status=429, retryable=True, retry_after=0.001)
    reply, _ = run(World({"mine": mine}), generate(Generate("mine", MESSAGES)), threaded=threaded)
    assert isinstance(reply, Reply)
    assert len(mine.asked) == 2
