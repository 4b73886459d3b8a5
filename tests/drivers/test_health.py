"""Endpoints that are looked after, over real servers: left alone while they fail, given time, asked once more."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gate.drivers import AsyncDriver, Recording, World
from gate.drivers.breaker import Breaker, State, _Window
from gate.drivers.health import WELL, Health, healths
from gate.drivers.hedging import Hedge
from gate.drivers.pacing import Pace
from gate.effects import Embed, Flow, Generate, HandOver, Reply, Retrieve, generate, hand_over, retrieve
from gate.embedders.openai_embeddings import OpenAIEmbeddings, OpenAIEmbeddingsOptions
from gate.endpoint_settings import (
    BreakerSettings,
    EmbedderSettings,
    FallibleSettings,
    HedgeSettings,
    RetrieverSettings,
    UpstreamSettings,
)
from gate.errors import EvidenceUnavailable, UpstreamError, UpstreamTimeout
from gate.ports import Price
from gate.types import Generations, Message
from gate.upstreams.openai_chat import OpenAIChat, OpenAIChatOptions
from tests.drivers.running import MESSAGES, both, run
from tests.scripted import Scripted
from tests.upstreams.faulty_server import (
    Behaviour,
    FaultyServer,
    chat,
    cut_mid_body,
    embeds,
    resets,
    says,
    silent,
    status,
)

ASKED = Generate("main", MESSAGES, temperature=0.0)
QUICK = BreakerSettings(failures=3, errors=3, within=0.01, seconds=600, most_seconds=600)


def upstream(url: str) -> OpenAIChat:
    return OpenAIChat.from_options("main", OpenAIChatOptions(base_url=url, model="m-1"), Price(1.0, 2.0))


def looked_after(url: str, *, hedge: Hedge | None = None, patience: float = 0.2, timeout: float = 20) -> World:
    health = Health("main", Breaker("main", QUICK), hedge, patience, Pace("main"))
    return World({"main": upstream(url)}, timeouts={"main": timeout}, health={"main": health})


def breaker_of(world: World) -> Breaker:
    breaker = world.health["main"].breaker
    assert breaker is not None
    return breaker


def asking(times: int, effect: Generate = ASKED) -> Flow[list[object]]:
    """What came of each, one after the other."""
    return asking_all([effect] * times)


def asking_all(effects: Iterable[Generate]) -> Flow[list[object]]:
    ends: list[object] = []
    for effect in effects:
        try:
            ends.append((yield from generate(effect)))
        except UpstreamError as error:
            ends.append(error)
    return ends


def different(times: int, word: str = "question") -> list[Generate]:
    return [Generate("main", (Message("user", f"{word} {number}"),), temperature=0.0) for number in range(times)]


# --- left alone --------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("behaviour", "fault"),
    [
        (status(500), True),
        (status(503), True),
        (resets, True),
        (cut_mid_body, True),
        (says(b"not json"), True),
        (status(400), False),
        (status(404), False),
        (chat("Nigeria"), False),
    ],
)
def test_what_is_the_servers_fault_opens_its_breaker_and_a_refusal_does_not(
    behaviour: Behaviour, fault: bool, threaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.drivers.retrying._Wait._backoff", lambda self, state: 0.0)
    with FaultyServer.of(behaviour) as server:
        world = looked_after(server.url)
        ends, recording = run(world, asking_all(different(5)), threaded=threaded)
    assert isinstance(ends, list)
    if not fault:
        assert (breaker_of(world).state, len(server.asked)) == (State.CLOSED, 5)
        return
    assert breaker_of(world).state is State.OPEN
    calls = [entry.cost.calls for entry in recording.tape]
    assert calls[0] == calls[1] > 0, "a request counts once with all its attempts"
    assert calls[2:] == [1, 0, 0]
    assert len(server.asked) == sum(calls)
    assert all(each.status == 503 and each.retry_after > 400 and each.unsent for each in ends[3:])
    assert "is not asked for another" in str(ends[3])


@both
@pytest.mark.parametrize("behaviour", [status(500), resets, says(b"not json")])
def test_one_request_that_it_cannot_stand_never_shuts_it(
    behaviour: Behaviour, threaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.drivers.retrying._Wait._backoff", lambda self, state: 0.0)
    monkeypatch.setattr("gate.drivers.retrying._ATTEMPTS", 2)
    samples = [Generate("main", MESSAGES, seed=seed, n=1 + seed % 2) for seed in range(4)]
    with FaultyServer.of(behaviour) as server:
        world = looked_after(server.url)
        run(world, asking_all(samples), threaded=threaded)
    assert breaker_of(world).closed


@both
def test_different_requests_that_it_cannot_stand_beside_others_do_not_shut_it(
    threaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(handler: Any, asked: dict[str, Any]) -> None:
        (status(500) if "poison" in str(asked["messages"]) else chat("Nigeria"))(handler, asked)

    monkeypatch.setattr("gate.drivers.retrying._Wait._backoff", lambda self, state: 0.0)
    monkeypatch.setattr("gate.drivers.retrying._ATTEMPTS", 2)
    mixed = [*different(4), *different(4, "poison"), *different(2)]
    with FaultyServer.of(picky) as server:
        world = looked_after(server.url)
        breaker_of(world)._settings = BreakerSettings(errors=3, within=0.01)
        breaker_of(world)._window = _Window(30)
        ends, _ = run(world, asking_all(mixed), threaded=threaded)
    assert isinstance(ends, list)
    for effect, end in zip(mixed, ends, strict=True):
        assert isinstance(end, Reply) == ("poison" not in effect.messages[0].content)
    assert breaker_of(world).opened == 0


@both
def test_a_server_that_cannot_be_reached_is_left_alone_too(threaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.drivers.retrying._Wait._backoff", lambda self, state: 0.0)
    with FaultyServer.of(chat("x")) as server:
        url = server.url
    world = looked_after(url)
    ends, recording = run(world, asking(4), threaded=threaded)
    assert isinstance(ends, list)
    assert "(last: cannot be reached" in str(ends[3])
    assert [entry.cost.calls for entry in recording.tape] == [4, 4, 1, 0], "also where all ask the same"


@both
def test_silence_counts_where_it_had_its_time_and_not_where_the_caller_had_none(threaded: bool) -> None:
    for seconds, state in ((0.15, State.OPEN), (0.03, State.CLOSED)):
        with FaultyServer.of(silent()) as server:
            world = looked_after(server.url, patience=0.14, timeout=seconds)
            ends, _ = run(world, asking_all(different(3)), threaded=threaded)
        assert isinstance(ends, list)
        assert all(isinstance(each, UpstreamTimeout) for each in ends)
        assert breaker_of(world).state is state


@both
def test_once_it_answers_again_it_is_asked_again(threaded: bool) -> None:
    behaviours = (status(500, retry_after="0"),) * 9
    with FaultyServer.of(*behaviours, chat("Nigeria")) as server:
        world = looked_after(server.url)
        breaker = breaker_of(world)
        ends, _ = run(world, asking_all(different(4)), threaded=threaded)
        assert len(server.asked) == 9
        breaker._until = 0.0  # its time is over
        ends, _ = run(world, asking(2), threaded=threaded)
    assert isinstance(ends, list)
    assert all(isinstance(each, Reply) for each in ends)
    assert (breaker.state, breaker.opened, len(server.asked)) == (State.CLOSED, 1, 11)


@both
def test_a_retriever_that_is_left_alone_brings_no_evidence_and_a_person_is_always_told(threaded: bool) -> None:
    class Shelf:
        name, kind, fingerprint, embedder = "world", "shelf", "", ""

        def complete(self, effect: Any, cancelled: Callable[[], bool]) -> Any:
            raise UpstreamError("world", "is away", status=500)

    class Desk:
        name, kind, fingerprint = "world", "desk", ""

        def complete(self, effect: Any, cancelled: Callable[[], bool]) -> str:
            return "case-1"

    breaker = Breaker("world", QUICK, clock=map(float, itertools.count()).__next__)
    kept = {"retriever:world": Health("world", breaker, pace=Pace("world"))}
    world = World({}, {"world": Shelf()}, people={"world": Desk()}, health=kept)  # type: ignore[dict-item]

    def flow() -> Flow[list[object]]:
        said: list[object] = []
        for number in range(4):
            try:
                yield from retrieve(Retrieve("world", f"Lagos {number}", 3))
            except EvidenceUnavailable as error:
                said.append(str(error))
        return [*said, (yield from hand_over(HandOver("world", MESSAGES, "uncertain"))).value]

    said, _ = run(world, flow(), threaded=threaded)
    assert isinstance(said, list)
    assert said[:3] == ["the retriever 'world' is away"] * 3, said
    assert "'world' is not asked for another" in said[3]
    assert said[4] == "case-1"


@both
def test_a_fault_of_code_in_this_process_opens_nothing(threaded: bool) -> None:
    def breaks(effect: Generate, place: int) -> str:
        raise ValueError(effect.messages[0].content)

    small = Scripted("main", breaks)
    world = World({"main": small}, health={"main": Health("main", Breaker("main", QUICK))})
    run(world, asking(6), threaded=threaded)
    assert (breaker_of(world).state, len(small.asked)) == (State.CLOSED, 6)


def test_who_is_called_off_while_it_tries_leaves_the_next_to_try() -> None:
    with FaultyServer.of(silent(), chat("Nigeria")) as server:
        world = looked_after(server.url)
        breaker = breaker_of(world)
        breaker._settings = BreakerSettings(failures=1)
        breaker.failed(breaker.admit(), "no")
        breaker._until = 0.0

        async def main() -> object:
            driver = AsyncDriver(world)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(driver.run(asking(1), Recording()))
                while not server.asked:
                    await asyncio.sleep(0.002)
                assert breaker.state is State.HALF_OPEN
                task.cancel()
            try:
                return await driver.run(asking(1), Recording())
            finally:
                await driver.aclose()

        (end,) = asyncio.run(main())  # type: ignore[misc]
    assert isinstance(end, Reply)
    assert breaker.closed


def test_health_is_made_of_what_the_policy_says() -> None:
    said: dict[str, FallibleSettings] = {
        "small": UpstreamSettings(kind="x", timeout=30),
        "v": EmbedderSettings(kind="x", breaker=None, hedge=HedgeSettings()),
        "retriever:world": RetrieverSettings(kind="x", timeout=5, breaker=BreakerSettings(failures=9)),
    }
    made = healths(said, 20)
    assert [each.name for each in made.values()] == ["small", "v", "world"]
    assert [each.patience for each in made.values()] == [18.0, 18.0, 4.5]
    assert made["v"].breaker is None
    assert [each.hedge is None for each in made.values()] == [True, False, True]
    assert healths(said, None)["small"].patience == 27.0


def test_whoever_is_not_looked_after_is_asked_whatever_happens() -> None:
    small = Scripted("main", lambda effect, place: UpstreamError("main", "is down", status=500))
    run(World({"main": small}), asking(9), threaded=False)
    assert len(small.asked) == 9
    assert WELL.pause(0.0) == 0.0
    with WELL.attempt(ASKED, 0.0) as made:
        assert made.second is None


# --- given time --------------------------------------------------------------------------------------------------


class Limited:
    """Refuses with 429 until it has rested for so many seconds, and notes who came while it did."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked: list[float] = []
        self.since = 0.0
        self._lock = threading.Lock()

    def __call__(self, handler: Any, asked: dict[str, Any]) -> None:
        with self._lock:
            now = time.monotonic()
            self.asked.append(now)
            self.since = self.since or now
            rests = now < self.since + self.seconds
        if rests:
            after = max(1, int(1000 * (self.since + self.seconds - now)))
            handler.send(429, b'{"error": {"message": "slow down"}}', {"retry-after-ms": str(after)})
        else:
            chat("Nigeria")(handler, asked)


def test_a_storm_waits_for_the_time_that_was_asked_for_and_does_not_come_back_in_one_moment() -> None:
    limited = Limited(0.4)
    with FaultyServer.of(limited) as server:
        world = looked_after(server.url)

        async def main() -> list[object]:
            driver = AsyncDriver(world)
            async with asyncio.TaskGroup() as group:
                learns = group.create_task(driver.run(asking(1), Recording()))
                while world.health["main"].pause(float("inf")) == 0.0:
                    await asyncio.sleep(0.002)
                others = [group.create_task(driver.run(asking(1), Recording())) for _ in range(60)]
            await driver.aclose()
            return [task.result()[0] for task in (learns, *others)]

        ends = asyncio.run(main())
    assert all(isinstance(each, Reply) for each in ends)
    storm = limited.asked[1:]
    assert len(storm) == 61, "each was sent once, when it could be answered"
    assert storm[0] >= limited.since + 0.39
    assert storm[-1] - storm[0] > 0.05, "spread over half the time that was asked for"


@both
def test_who_cannot_wait_so_long_is_told_when_to_come_again(threaded: bool) -> None:
    with FaultyServer.of(status(429, retry_after="30")) as server:
        world = looked_after(server.url, timeout=10)
        ends, _ = run(world, asking(3), threaded=threaded)
    assert isinstance(ends, list)
    assert len(server.asked) == 1
    assert [each.status for each in ends] == [429] * 3
    assert all(29 <= each.retry_after <= 30 for each in ends)
    assert "wants not to be asked for another 30 s" in str(ends[1])
    assert breaker_of(world).closed


@both
def test_a_request_that_is_refused_for_long_holds_up_others_for_a_moment_only(
    threaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(handler: Any, asked: dict[str, Any]) -> None:
        (status(429, retry_after="9" * 301) if "storm" in str(asked["messages"]) else chat("Nigeria"))(handler, asked)

    monkeypatch.setattr("gate.drivers.pacing._ALONE", 0.1)
    with FaultyServer.of(picky) as server:
        world = looked_after(server.url, timeout=10)
        (storm,) = different(1, "storm")
        ends, _ = run(world, asking_all([storm, *different(3), storm]), threaded=threaded)
    assert isinstance(ends, list)
    assert [isinstance(each, Reply) for each in ends] == [False, True, True, True, False]
    assert len(server.asked) == 4, "what was refused itself comes no sooner than it was told"


@both
def test_a_wait_ends_and_the_request_is_sent(threaded: bool) -> None:
    with FaultyServer.of(chat("Nigeria")) as server:
        world = looked_after(server.url)
        pace = world.health["main"].pace
        assert pace is not None
        pace.refused(0.1)
        began = time.monotonic()
        ends, _ = run(world, asking(1), threaded=threaded)
    assert isinstance(ends, list)
    assert isinstance(ends[0], Reply)
    assert time.monotonic() - began >= 0.1


# --- asked once more ---------------------------------------------------------------------------------------------


@contextmanager
def slow_then(*behaviours: Behaviour) -> Iterator[tuple[World, FaultyServer, Hedge]]:
    hedge = Hedge(HedgeSettings(after=0.05, share=0.5))
    for _ in range(4):
        hedge.begin(lambda: True)
    with FaultyServer.of(*behaviours) as server:
        yield looked_after(server.url, hedge=hedge), server, hedge


@both
def test_a_slow_request_is_sent_once_more_and_the_slow_one_called_off_and_paid_for(threaded: bool) -> None:
    with slow_then(silent(), chat("Nigeria")) as (world, server, hedge):
        ends, recording = run(world, asking(1), threaded=threaded)
        assert server.gone.wait(5), "its connection was closed"
    assert isinstance(ends, list)
    (end,) = ends
    assert isinstance(end, Reply)
    assert isinstance(end.value, Generations)
    assert server.bodies[0] == server.bodies[1], "the same request, byte for byte"
    assert hedge.sent == 1
    paid = end.cost
    assert (paid.calls, paid.prompt_tokens, paid.completion_tokens) == (2, 14, 4)
    assert paid.money == pytest.approx((14 * 1.0 + 4 * 2.0) / 1e6)
    assert recording.tape[0].cost == paid


@both
def test_the_slow_one_wins_where_the_other_fails(threaded: bool) -> None:
    def late(handler: Any, asked: dict[str, Any]) -> None:
        time.sleep(0.2)
        chat("Nigeria")(handler, asked)

    with slow_then(late, status(500)) as (world, server, hedge):
        ends, _ = run(world, asking(1), threaded=threaded)
    assert isinstance(ends, list)
    assert isinstance(ends[0], Reply)
    assert (len(server.asked), hedge.sent, breaker_of(world).closed) == (2, 1, True)


@both
@pytest.mark.parametrize("effect", [Generate("main", MESSAGES, temperature=1.0), Generate("main", MESSAGES, n=2)])
def test_what_is_sampled_is_never_sent_twice(effect: Generate, threaded: bool) -> None:
    def late(handler: Any, asked: dict[str, Any]) -> None:
        time.sleep(0.15)
        chat("Nigeria")(handler, asked)

    with slow_then(late) as (world, server, hedge):
        run(world, asking(1, effect), threaded=threaded)
    assert (len(server.asked), hedge.sent) == (1, 0)


@both
def test_a_draft_that_somebody_watches_is_never_sent_twice(threaded: bool) -> None:
    with slow_then(chat("Nigeria")) as (world, _, hedge):
        before = hedge._requests
        with world.health["main"].attempt(ASKED, time.monotonic(), watched=True) as made:
            assert made.second is None
        run(world, asking(1), threaded=threaded)
        assert hedge._requests == before + 1


@both
def test_an_embedder_is_asked_once_more_too_and_both_are_paid_for(threaded: bool) -> None:
    hedge = Hedge(HedgeSettings(after=0.05, share=0.5))
    for _ in range(4):
        hedge.begin(lambda: True)
    with FaultyServer.of(silent(), embeds) as server:
        options = OpenAIEmbeddingsOptions(base_url=server.url, model="e-1")
        vectors = OpenAIEmbeddings("v", options, Price(1.0), None)
        world = World({}, embedders={"v": vectors}, health={"v": Health("v", hedge=hedge)})
        reply, _ = run(world, one(Embed("v", ("a b", "c"))), threaded=threaded)
    assert isinstance(reply, Reply)
    assert (len(server.asked), reply.cost.calls, reply.cost.prompt_tokens) == (2, 0, 12)


def one(effect: Any) -> Flow[Any]:
    return (yield effect)


def test_what_is_not_sent_makes_no_room_for_seconds() -> None:
    hedge, breaker = Hedge(HedgeSettings(after=1.0, share=0.5)), Breaker("main", QUICK)
    health = Health("main", breaker, hedge)
    for _ in range(3):
        breaker.failed(breaker.admit(), "no")
    for _ in range(10):
        with pytest.raises(UpstreamError):
            health.attempt(ASKED, 0.0)
    assert not hedge.take()


def test_no_second_is_sent_while_the_endpoint_is_not_well() -> None:
    hedge = Hedge(HedgeSettings(after=1.0, share=0.5))
    for _ in range(4):
        hedge.begin(lambda: True)
    pace, breaker = Pace("main"), Breaker("main", QUICK)
    health = Health("main", breaker, hedge, 0.0, pace)
    with health.attempt(ASKED, 0.0) as made:
        assert made.second is not None
        pace.refused(9.0)
        assert not made.second.begin()
    pace._not_before = 0.0
    with health.attempt(ASKED, 0.0) as made:
        assert made.second is not None
        for _ in range(3):
            breaker.failed(breaker.admit(), "no")
        assert not made.second.begin()
