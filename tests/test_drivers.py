"""The three drivers: equal outcomes, replay without calls, deadlines, retries and cancellation."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from gate.drivers import AsyncDriver, Recording, ReplayDriver, ThreadedDriver, World
from gate.drivers.retrying import HTTP_ERRORS, http_error
from gate.effects import Flow, Generate, generate, together
from gate.errors import ReplayGap, UpstreamError, UpstreamTimeout
from gate.pipeline import answer
from gate.ports import Price
from gate.types import Action, Cost, Message, Outcome, Question
from gate.upstreams import OpenAIChat
from tests.scripted import Answer, Scripted, always, plan_over, world_of

ASKED = Question.from_text("Where is Lagos?")
MESSAGES = (Message("user", "Where is Lagos?"),)


def run(world: World, flow: Flow[object], *, threaded: bool, seconds: float | None = None) -> tuple[object, Recording]:
    recording = Recording()
    if threaded:
        driver = ThreadedDriver(world)
        try:
            return driver.run(flow, recording, seconds=seconds), recording
        finally:
            driver.close()

    async def main() -> object:
        driver = AsyncDriver(world)
        try:
            return await driver.run(flow, recording, seconds=seconds)
        finally:
            await driver.aclose()

    return asyncio.run(main()), recording


both = pytest.mark.parametrize("threaded", [True, False], ids=["threaded", "async"])


def untimed(outcome: object) -> Outcome:
    """An outcome with clock readings taken out."""
    assert isinstance(outcome, Outcome)
    steps = tuple(dataclasses.replace(s, cost=dataclasses.replace(s.cost, seconds=0.0)) for s in outcome.steps)
    return dataclasses.replace(outcome, steps=steps, cost=dataclasses.replace(outcome.cost, seconds=0.0))


def doubtful(effect: Generate, place: int) -> Answer:
    """Right once passages are in the prompt; before that every sample says something else."""
    if "passages" in effect.messages[-1].content:
        return "Nigeria"
    return "Ghana" if effect.temperature == 0 else ("Ghana", "Togo", "Benin", "Nigeria", "Mali")[place]


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


def test_a_replay_judges_a_stricter_policy_and_says_when_it_cannot() -> None:
    upstreams = {"small": Scripted("small", always("Nigeria"))}
    _, recording = run(world_of(upstreams), answer(plan_over(upstreams), ASKED), threaded=True)
    stricter = ReplayDriver(recording.tape).run(answer(plan_over(upstreams, answer_at=0.99), ASKED), Recording())
    assert stricter.action is Action.ABSTAIN
    with pytest.raises(ReplayGap):
        ReplayDriver(recording.tape).run(
            answer(plan_over(upstreams), Question.from_text("Where is Paris?")), Recording()
        )


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
def test_what_may_pass_is_tried_again_and_what_cannot_is_not(threaded: bool) -> None:
    def failing(times: int, *, retryable: bool) -> Scripted:
        left = [times]

        def say(effect: Generate, place: int) -> Answer:
            left[0] -= 1
            return UpstreamError("small", "busy", retryable=retryable, retry_after=0.01) if left[0] >= 0 else "Nigeria"

        return Scripted("small", say)

    passing = failing(2, retryable=True)
    _, recording = run(world_of({"small": passing}), generate(Generate("small", MESSAGES)), threaded=threaded)
    assert len(passing.asked) == 3
    assert recording.tape[0].cost.calls == 3
    for upstream, tries in ((failing(99, retryable=True), 4), (failing(99, retryable=False), 1)):
        with pytest.raises(UpstreamError, match="busy"):
            run(world_of({"small": upstream}), generate(Generate("small", MESSAGES)), threaded=threaded)
        assert len(upstream.asked) == tries


@both
def test_no_sleep_goes_past_the_deadline(threaded: bool) -> None:
    busy = Scripted("small", lambda e, i: UpstreamError("small", "busy", retryable=True, retry_after=3600))
    began = time.monotonic()
    with pytest.raises(UpstreamError, match="busy"):
        run(world_of({"small": busy}), generate(Generate("small", MESSAGES)), threaded=threaded, seconds=1)
    assert time.monotonic() - began < 1
    assert len(busy.asked) == 1


def test_cancelling_the_caller_cancels_every_call_under_way() -> None:
    slow = {name: Scripted(name, always("x"), seconds=30) for name in ("a", "b")}

    async def main() -> None:
        driver = AsyncDriver(world_of(slow))
        flow = together(generate(Generate(name, MESSAGES)) for name in slow)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(driver.run(flow, Recording()))
            while not all(upstream.asked for upstream in slow.values()):
                await asyncio.sleep(0.01)
            task.cancel()
        assert task.cancelled()
        await driver.aclose()

    asyncio.run(main())
    assert all(upstream.cancelled.wait(5) for upstream in slow.values())


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


def test_a_threaded_driver_serves_many_threads_at_once() -> None:
    upstreams = {"small": Scripted("small", always("Nigeria"), seconds=0.02)}
    plan, driver, said = plan_over(upstreams), ThreadedDriver(world_of(upstreams)), []

    def work() -> None:
        said.append(driver.run(answer(plan, ASKED), Recording()).text)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    driver.close()
    assert said == ["Nigeria"] * 16


def _all_below(kind: type[BaseException]) -> set[type[BaseException]]:
    return {kind} | {below for child in kind.__subclasses__() for below in _all_below(child)}


@pytest.mark.parametrize(
    "kind",
    sorted(set().union(*(_all_below(k) for k in HTTP_ERRORS)), key=lambda k: k.__name__),
    ids=lambda k: k.__name__,
)
def test_every_error_of_the_http_library_becomes_one_of_ours(kind: type[Exception]) -> None:
    made = http_error("mine", kind.__new__(kind))
    assert made.upstream == "mine"
    assert made.cause
    assert isinstance(made, UpstreamTimeout) == issubclass(kind, httpx.TimeoutException | TimeoutError)


def closed_port() -> OpenAIChat:
    options = OpenAIChat.Options(base_url="http://127.0.0.1:9/v1", model="m")
    return OpenAIChat.from_options("mine", options, Price())


@both
def test_a_server_that_is_down_is_named(threaded: bool) -> None:
    with pytest.raises(UpstreamError, match="'mine': cannot be reached"):
        run(World({"mine": closed_port()}), generate(Generate("mine", MESSAGES)), threaded=threaded, seconds=20)
