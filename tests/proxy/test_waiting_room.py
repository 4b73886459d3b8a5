"""Who is worked on, who waits, in which order, and who is refused at once; and a whole server under too much load."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from math import inf
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.proxy.admission import Admission
from gate.proxy.settings import LimitSettings, ServerSettings
from gate.proxy.waiting_room import Gone, NoRoom, WaitingRoom
from tests.proxy.gate_process import scripted_policy
from tests.proxy.live_server import live
from tests.proxy.reading import Noted
from tests.proxy.served import app_of, bearer, keys_of
from tests.upstreams.faulty_server import FaultyServer, chat


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def never() -> Any:
    await asyncio.Event().wait()


class Floor:
    """A waiting room, and whoever came to it, by number."""

    def __init__(self, group: asyncio.TaskGroup, **limits: Any) -> None:
        self.clock = Clock()
        self.room = WaitingRoom(LimitSettings(**{"concurrency": 1, "waiting": 4, **limits}), clock=self.clock)
        self.group = group
        self.inside: dict[int, float] = {}
        self.refused: dict[int, NoRoom] = {}
        self.order: list[int] = []
        self.clients: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, client: str = "a", patience: float = inf) -> int:
        number = len(self.clients)
        self.clients.append(client)
        self.tasks.append(self.group.create_task(self._come(number, client, patience)))
        await settled()
        return number

    async def _come(self, number: int, client: str, patience: float) -> None:
        try:
            self.inside[number] = await self.room.enter(never, client, patience)
            self.order.append(number)
        except NoRoom as full:
            self.refused[number] = full

    async def go(self, number: int) -> None:
        self.room.leave(self.inside.pop(number))
        await settled()

    async def served(self, seconds: float, times: int = 10) -> None:
        """So many came and went, each after so long."""
        for _ in range(times):
            number = await self.come()
            self.clock.now += seconds
            await self.go(number)
        self.order.clear()


async def settled() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


def on_a_floor(test: Any, **limits: Any) -> None:
    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            floor = Floor(group, **limits)
            await test(floor)
            for task in floor.tasks:
                task.cancel()

    asyncio.run(run())


# --- turns -------------------------------------------------------------------------------------------------------


def test_clients_take_turns_and_each_is_served_in_its_own_order() -> None:
    async def test(floor: Floor) -> None:
        first = await floor.come("a")
        for client in ("a", "a", "a", "b", "c", "b"):
            await floor.come(client)
        await floor.go(first)
        while floor.inside:
            await floor.go(next(iter(floor.inside)))
        assert [floor.clients[number] for number in floor.order] == ["a", "a", "b", "c", "a", "b", "a"]
        assert [number for number in floor.order if floor.clients[number] == "a"] == [0, 1, 2, 3]

    on_a_floor(test, waiting=9)


def test_who_has_most_waiting_gives_way_where_the_room_is_full() -> None:
    async def test(floor: Floor) -> None:
        for _ in range(5):
            await floor.come("many")
        assert floor.room.waiting == 4
        await floor.come("many")
        assert (list(floor.refused), floor.refused[5].reason) == ([5], "full")
        other = await floor.come("one")
        assert (list(floor.refused), floor.refused[4].reason) == ([5, 4], "share"), "the newest of them"
        another = await floor.come("one")
        assert floor.refused[3].reason == "share"
        last = await floor.come("one")
        assert floor.refused[last].reason == "full", "it has no fewer waiting than whoever has most"
        await floor.go(0)
        await floor.go(1)
        assert floor.order == [0, 1, other]
        assert floor.room.shed == {"full": 2, "share": 2}
        assert another not in floor.refused

    on_a_floor(test)


@given(
    st.lists(
        st.tuples(st.sampled_from(["come", "come", "finish", "cancel"]), st.sampled_from("abc")),
        max_size=40,
    )
)
def test_whatever_happens_no_place_is_lost_and_no_client_is_passed_over_twice(events: list[tuple[str, str]]) -> None:
    async def test(floor: Floor) -> None:
        passed: Counter[str] = Counter()
        for event, client in events:
            done = len(floor.order)
            waiting = [n for n, task in enumerate(floor.tasks) if not task.done()]
            assert floor.room.waiting == len(waiting) <= 4
            assert floor.room.under_way == len(floor.inside) == min(2, len(floor.inside) + len(waiting))
            if event == "come":
                await floor.come(client)
            elif event == "finish" and floor.inside:
                await floor.go(next(iter(floor.inside)))
            elif event == "cancel" and waiting:
                floor.tasks[waiting[0]].cancel()
                await settled()
            for number in floor.order[done:] if event == "finish" else ():
                served = floor.clients[number]
                for other in {floor.clients[n] for n in waiting} - {served}:
                    passed[other] += 1
                passed[served] = 0
            here = {floor.clients[n] for n, task in enumerate(floor.tasks) if not task.done()}
            for client_ in "abc":
                if client_ not in here:
                    passed[client_] = 0
            assert max(passed.values(), default=0) <= 2, "each of the two others once"

    on_a_floor(test, concurrency=2)


# --- the wait that is foreseen -----------------------------------------------------------------------------------


def test_who_would_wait_longer_than_it_may_is_refused_at_once() -> None:
    async def test(floor: Floor) -> None:
        assert floor.room.foreseen("a") == 0.0
        await floor.served(4.0)
        inside = await floor.come()
        assert floor.room.foreseen("a") == pytest.approx(4.0)
        await floor.come()
        await floor.come()
        assert floor.room.foreseen("a") == pytest.approx(12.0)
        late = await floor.come()
        assert (floor.refused[late].reason, floor.refused[late].seconds) == ("would_wait", 12)
        assert "this one would wait 12.0 s, and may 10 s" in floor.refused[late].message
        other = await floor.come("b")
        assert other not in floor.refused, "another client has its turn after one of the first"
        hasty = await floor.come("c", patience=5.0)
        assert floor.refused[hasty].reason == "would_wait"
        await floor.go(inside)
        assert floor.room.shed == {"would_wait": 2}

    on_a_floor(test, waiting=9, wait_seconds=10)


def test_it_is_foreseen_by_how_long_those_have_been_there_too() -> None:
    async def test(floor: Floor) -> None:
        await floor.served(0.1)
        await floor.come()
        assert floor.room.foreseen("a") == pytest.approx(0.1)
        floor.clock.now += 30.0  # whoever is asked has stopped answering
        assert floor.room.foreseen("a") == pytest.approx(30.0)
        late = await floor.come()
        assert floor.refused[late].reason == "would_wait"

    on_a_floor(test, wait_seconds=10)


def test_before_anything_is_known_nobody_is_refused_for_it() -> None:
    async def test(floor: Floor) -> None:
        await floor.served(100.0, times=9)
        await floor.come()
        assert floor.room.foreseen("a") is None
        waits = await floor.come()
        assert (floor.room.waiting, floor.refused) == (1, {})
        await floor.go(9)
        assert waits in floor.inside

    on_a_floor(test, wait_seconds=10)


@pytest.mark.parametrize(("seconds", "told"), [(0.01, 1), (7.2, 8), (500.0, 60)])
def test_when_to_come_again_is_told_by_the_rate_of_service(seconds: float, told: int) -> None:
    async def test(floor: Floor) -> None:
        await floor.served(seconds)
        await floor.come()
        assert floor.room.full("no", "full").seconds == told

    on_a_floor(test)


def test_who_waited_in_vain_or_left_is_out_of_the_room() -> None:
    async def run() -> None:
        room = WaitingRoom(LimitSettings(concurrency=1, waiting=4, wait_seconds=0.02))
        began = await room.enter(never)
        with pytest.raises(NoRoom, match=r"waited 0\.02 s") as caught:
            await room.enter(never)
        assert caught.value.reason == "waited"
        with pytest.raises(NoRoom, match=r"waited 0\.01 s"):
            await room.enter(never, "b", patience=0.01)

        async def leaves() -> Any:
            return {"type": "http.disconnect"}

        with pytest.raises(Gone):
            await room.enter(leaves)
        assert (room.waiting, room.under_way) == (0, 1)
        room.leave(began)
        assert room.under_way == 0

    asyncio.run(run())


# --- through the door --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"0.02", 0.02), (b"-1", inf), (b"nan", inf), (b"1e9", inf), (b"", inf), (b".", inf), ("²".encode(), inf)],
)
def test_how_long_a_client_waits_is_read_where_it_says_so(value: bytes, seconds: float) -> None:
    told: list[float] = []

    async def run() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})

        door = Admission(app, LimitSettings())
        enter = door._room.enter

        async def noted(receive: Any, client: Any = None, patience: float = inf) -> float:
            told.append(patience)
            return await enter(receive, client, patience)

        door._room.enter = noted  # type: ignore[method-assign]
        headers = [(b"x-stainless-read-timeout", value)]
        scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": headers}

        async def send(message: Any) -> None:
            assert message["status"] == 200

        await door(scope, never, send)

    asyncio.run(run())
    assert told == [seconds]


def slowly(seconds: float) -> Any:
    """A well-behaved server of few, which keeps its manners and takes its time."""
    places = threading.Semaphore(4)

    def behave(handler: Any, asked: dict[str, Any]) -> None:
        with places:
            time.sleep(seconds)
            chat("Nigeria")(handler, asked)

    return behave


def test_under_too_much_load_each_is_answered_with_all_its_evidence_or_told_when_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_TEST_UPSTREAM_KEY", "sk-wK3vQ9xTz5RbNc81LmPj")
    limits = LimitSettings(concurrency=4, waiting=8, wait_seconds=2.0)
    settings = ServerSettings(dashboard=False, limits=limits)
    noted, took = Noted(), list[float]()
    body = {"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}]}
    with FaultyServer.of(slowly(0.03)) as server:
        policy = str(scripted_policy(tmp_path, server.url, "mine"))
        app = app_of(policy, keys=keys_of(busy={}, quiet={}, ops={"roles": ["metrics"]}), settings=settings, log=noted)

        async def ask(client: httpx.AsyncClient, url: str, name: str) -> httpx.Response:
            began = time.monotonic()
            reply = await client.post(f"{url}/v1/chat/completions", json=body, headers=bearer(name))
            if reply.status_code == 200:
                took.append(time.monotonic() - began)
            return reply

        async def storm(url: str) -> tuple[list[httpx.Response], list[httpx.Response], list[httpx.Response]]:
            limits = httpx.Limits(max_connections=200)
            async with httpx.AsyncClient(trust_env=False, timeout=20, limits=limits) as client:
                async with asyncio.TaskGroup() as group:
                    busy = [group.create_task(ask(client, url, "busy")) for _ in range(60)]
                    await asyncio.sleep(0.05)
                    quiet = [group.create_task(ask(client, url, "quiet")) for _ in range(3)]
                    healths = [group.create_task(client.get(f"{url}/healthz")) for _ in range(5)]
                return [[task.result() for task in tasks] for tasks in (busy, quiet, healths)]  # type: ignore[return-value]

        with live(app) as url:
            busy, quiet, healths = asyncio.run(storm(url))
            shown = httpx.get(f"{url}/metrics", headers=bearer("ops"), trust_env=False).text
    assert [reply.status_code for reply in healths] == [200] * 5
    assert {reply.status_code for reply in (*busy, *quiet)} == {200, 503}
    refused = [reply for reply in (*busy, *quiet) if reply.status_code == 503]
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
    assert all(reply.json()["error"]["code"] == "overloaded" for reply in refused)
    assert [reply.status_code for reply in quiet] == [200] * 3, "who asks little is served beside who asks much"
    answered = [entry for entry in noted.entries.queue if entry.status == 200]
    assert len(answered) == len(took) == 63 - len(refused)
    for entry in answered:
        (step,) = entry.record.steps
        assert all(reading.missing is None for reading in step.signals.readings), "nothing was skipped to be faster"
        assert entry.record.action is not None
    shed = {found[1]: float(found[2]) for found in re.finditer(r'gate_shed_total{reason="(\w+)"} (\S+)', shown)}
    assert sum(shed.values()) == len(refused)
    assert f'gate_turned_away_total{{code="overloaded"}} {float(len(refused))}' in shown
    assert max(took) < 2.0 + 3.0, "who is let in is answered in bounded time"
