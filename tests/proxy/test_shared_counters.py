"""Counts over several workers in a real store: what ends is written behind, over whatever happens to the store."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest

from gate.proxy import shared_counters
from gate.proxy.counter_store import Asked, Ending, Found
from gate.proxy.counters import Counters
from gate.proxy.counting import Refused, Taken, Used
from gate.proxy.keys import Rate, Spend
from gate.proxy.redis_counters import RedisCounters
from gate.proxy.shared_counters import SharedCounters
from gate.proxy.stand_in import StandIn
from gate.state.circuit import StoreDown
from gate.state.opening import open_store
from gate.state.redis_store import RedisStore
from tests.commands import gate
from tests.proxy.counting_houses import new_name
from tests.proxy.gate_process import Serving, made_keys, serving
from tests.redis_server import RedisServer, redis_server
from tests.upstreams.faulty_server import FaultyServer, chat

pytestmark = pytest.mark.anyio
MANY = Rate(requests_per_minute=1000)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """One that may be frozen and restarted."""
    with redis_server() as server:
        yield server


@pytest.fixture
def name() -> str:
    return new_name()


@asynccontextmanager
async def worker(
    redis: RedisServer, *, running: bool = True, local: bool = False, seconds: float = 5.0, **more: Any
) -> AsyncIterator[SharedCounters]:
    """One of several. ``running``: what is done in the background is."""
    store = open_store(redis.url, prefix="shared", timeout=seconds)
    assert isinstance(store, RedisStore)
    alone = StandIn(Counters.open(None)) if local else None
    counters = SharedCounters(RedisCounters(store), alone=alone, **more)
    try:
        async with asyncio.TaskGroup() as group:
            background = group.create_task(counters.run()) if running else None
            yield counters
            if background is not None:
                background.cancel()
    finally:
        await counters.aclose()
        await store.aclose()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


def taken(found: Taken | Refused) -> Taken:
    assert isinstance(found, Taken), found
    return found


async def test_two_workers_keep_one_limit_together(redis: RedisServer, name: str) -> None:
    rate = Rate(requests_per_minute=30)
    async with worker(redis) as one, worker(redis) as other:
        asked = [each.take(name, rate, tokens=3, money=0.001) for _ in range(50) for each in (one, other)]
        got = [(at, each) for at, each in enumerate(await asyncio.gather(*asked)) if isinstance(each, Taken)]
        assert 30 <= len(got) <= 32
        for at, each in got:
            (other if at % 2 else one).settle(each, 2, 0.002)
        await until(lambda: not one.counts.waiting + other.counts.waiting)
        usage = await one.usage(name)
    assert (usage.total.requests, usage.total.tokens, usage.under_way) == (len(got), 2 * len(got), 0)
    assert usage.total.money == pytest.approx(0.002 * len(got))


async def test_who_comes_again_at_once_finds_the_room_that_it_left(redis: RedisServer, name: str) -> None:
    rate = Rate(concurrency=1)
    async with worker(redis) as counters:
        for _ in range(100):
            counters.settle(taken(await counters.take(name, rate)), 1, 0.0)
        held = taken(await counters.take(name, rate))
        assert isinstance(await counters.take(name, rate), Refused)
        counters.give_back(held)
        taken(await counters.take(name, rate))
        assert counters.last_standing(name) is not None
        assert counters.last_standing("nobody") is None


async def test_a_store_that_is_frozen_lets_nobody_in_and_what_was_under_way_is_counted_once(
    redis: RedisServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with worker(redis, seconds=0.75, lease=60) as counters:
        begun = [taken(await counters.take(name, MANY, tokens=10, money=0.5)) for _ in range(3)]
        redis.freeze()
        try:
            with pytest.raises(StoreDown):
                await counters.take(name, MANY, tokens=1000)  # it may be let in, when the store goes on
            began = time.monotonic()
            for _ in range(100):
                with pytest.raises(StoreDown):
                    await counters.take(name, MANY)
            assert time.monotonic() - began < 5, "the store is not waited for each time"
            counters.settle(begun[0], 20, 0.25)
            counters.settle(begun[0], 99, 0.99)
            counters.give_back(begun[1])
            counts = counters.counts
            assert not counts.up
            assert counts.waiting >= 3
        finally:
            redis.thaw()
        await until(lambda: counters.counts.up and not counters.counts.waiting)
        usage = await counters.usage(name)
        assert (usage.total.requests, usage.total.tokens, usage.total.money) == (2, 30, 0.75)
        assert usage.under_way == 1
    told = [record.getMessage() for record in caplog.records if record.name == "gate.state"]
    assert [("cannot be used" in each, "again" in each) for each in told] == [(True, False), (False, True)]


async def test_what_one_late_answer_left_unwritten_is_written_at_once(
    redis: RedisServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is not held to be down by one; and the next beat is far away."""
    async with worker(redis, lease=3600) as counters:
        store, tried = counters._store, 0
        end = store.end

        async def late_once(endings: Sequence[Ending]) -> None:
            nonlocal tried
            tried += 1
            if tried == 1:
                store.circuit.failed("late", waited=0.25)
                raise StoreDown("late")
            await end(endings)

        monkeypatch.setattr(store, "end", late_once)
        counters.settle(taken(await counters.take(name, MANY)), 7, 0.0)
        async with asyncio.timeout(5):
            await until(lambda: not counters.counts.waiting)
        assert (tried, counters.counts.up) == (2, True)


async def test_a_restart_loses_nothing(redis: RedisServer, name: str) -> None:
    rate = Rate(requests_per_minute=5, concurrency=2)
    async with worker(redis, lease=60) as counters:
        first, second = [taken(await counters.take(name, rate, tokens=5)) for _ in range(2)]
        await anyio.to_thread.run_sync(redis.stop)
        counters.settle(first, 7, 0.125)
        with pytest.raises(StoreDown):
            await counters.take(name, rate)
        await anyio.to_thread.run_sync(redis.start)
        await until(lambda: counters.counts.up and not counters.counts.waiting)
        usage = await counters.usage(name)
        assert (usage.total.requests, usage.total.tokens, usage.total.money, usage.under_way) == (2, 12, 0.125, 1)
        third = taken(await counters.take(name, rate))
        assert isinstance(await counters.take(name, rate), Refused)
        counters.settle(second, 5, 0.0)
        counters.settle(third, 0, 0.0)


async def test_who_may_goes_on_alone_and_the_store_is_told_of_it(redis: RedisServer, name: str) -> None:
    rate, spend = Rate(requests_per_minute=6), Spend(limit=1, per="total")
    async with worker(redis, local=True, seconds=0.75) as counters, worker(redis) as other:
        early = taken(await counters.take(name, rate, spend, money=0.25))
        redis.freeze()
        try:
            got = [await counters.take(name, rate, spend, tokens=2, money=0.125) for _ in range(8)]
            assert [isinstance(each, Taken) for each in got] == [True] * 5 + [False] * 3, "not a whole new minute"
            for each in got[:4]:
                counters.settle(taken(each), 3, 0.0625)
            counters.give_back(taken(got[4]))
            counters.settle(early, 1, 0.125)
            assert counters.counts.alone == 5
        finally:
            redis.thaw()
        await until(lambda: counters.counts.up and not counters.counts.waiting)
        usage = await other.usage(name)
        assert (usage.total.requests, usage.total.tokens, usage.under_way) == (5, 13, 0)
        assert usage.total.money == 0.375
        left = await other.standing(name, rate)
        assert 1 <= left.requests <= 1.5


async def test_a_worker_that_dies_leaves_its_places_after_the_lease_and_one_that_lives_does_not(
    redis: RedisServer, name: str
) -> None:
    rate = Rate(concurrency=2)
    async with worker(redis, lease=0.8) as alive, worker(redis, running=False, lease=0.8) as dead:
        kept = taken(await alive.take(name, rate, tokens=10))
        taken(await dead.take(name, rate, tokens=10, money=0.5))
        assert isinstance(await alive.take(name, rate), Refused)
        got: list[Taken] = []
        async with asyncio.timeout(20):
            while not got:
                await asyncio.sleep(0.02)
                found = await alive.take(name, rate)
                got += [found] if isinstance(found, Taken) else []
        until_ = time.monotonic() + 1.2
        while time.monotonic() < until_:
            await asyncio.sleep(0.02)
            assert isinstance(await alive.take(name, rate), Refused), "leases of the living are renewed"
        alive.settle(kept, 10, 0.0)
        alive.settle(got[0], 0, 0.0)
        await until(lambda: not alive.counts.waiting)
        usage = await alive.usage(name)
        assert (usage.total.requests, usage.total.tokens, usage.total.money) == (3, 20, 0.5), "charged once"
        dead._held.clear()


async def test_a_request_that_is_cancelled_while_it_asks_is_taken_back(redis: RedisServer, name: str) -> None:
    async with worker(redis, running=False) as counters:
        redis.freeze()
        try:
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(counters.take(name, MANY, tokens=9))
                await asyncio.sleep(0.05)
                asking.cancel()
        finally:
            redis.thaw()
        assert counters.counts.waiting == 1
        await counters.write()
        usage = await counters.usage(name)
        assert (usage.total.requests, usage.under_way) == (0, 0)


@pytest.mark.parametrize("days", [-1, 1, 40])
async def test_what_is_taken_back_is_so_whatever_the_day_is_by_this_machines_clock(
    redis: RedisServer, name: str, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, date = time.time, time.gmtime
    monkeypatch.setattr(time, "time", lambda: wall() + 86_400 * days)
    monkeypatch.setattr(time, "gmtime", lambda at=None: date(time.time() if at is None else at))
    async with worker(redis, running=False) as counters:
        store = counters._store
        take = store.take

        async def unheard(asked: Asked) -> Found:
            await take(asked)
            raise StoreDown("its answer was lost")

        monkeypatch.setattr(store, "take", unheard)
        with pytest.raises(StoreDown):
            await counters.take(name, MANY, Spend(limit=5, per="day"), tokens=100, money=4.0)
        await counters.write()
        usage = await counters.usage(name)
        assert usage.day == usage.month == usage.total == Used(0, 0, 0.0)


async def test_two_that_write_at_once_write_each_ending_once(redis: RedisServer, name: str) -> None:
    async with worker(redis, running=False) as counters:
        for _ in range(250):
            counters.settle(taken(await counters.take(name, MANY)), 2, 0.0)
        await asyncio.gather(counters.write(), counters.write())
        assert counters.counts.waiting == 0
        assert (await counters.usage(name)).total.tokens == 500


async def test_of_more_than_it_keeps_only_what_was_charged_in_advance_is_known(
    redis: RedisServer, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_counters, "MOST_WAITING", 3)
    async with worker(redis, running=False) as counters:
        begun = [taken(await counters.take(name, MANY, tokens=10)) for _ in range(5)]
        for each in begun:
            counters.settle(each, 1, 0.0)
        assert counters.counts[:3] == (True, 3, 2)
    async with worker(redis, running=False) as counters:
        assert (await counters.usage(name)).total.tokens == 23, "what waited is written at the end"
    assert len([each for each in caplog.records if "away for too long" in each.message]) == 1


async def test_what_cannot_be_written_at_the_end_is_told(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server() as server:
        async with worker(server, running=False, seconds=0.75) as counters:
            counters.settle(taken(await counters.take(name, MANY)), 1, 0.0)
            server.stop()
    assert "1 ended requests could not be written to the shared store: of 1 it keeps" in caplog.text


async def test_at_the_end_what_the_store_never_heard_of_is_told_apart(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server() as server:
        async with worker(server, running=False, local=True, seconds=0.75) as counters:
            begun = taken(await counters.take(name, MANY))
            server.stop()
            alone = [taken(await counters.take(name, MANY)) for _ in range(2)]
            for each in (begun, *alone):
                counters.settle(each, 1, 0.0)
            lost = [each.how for each in counters._endings].count("give back")
    said = f"{lost + 3} ended requests could not be written to the shared store: of {lost + 1} it keeps what they were"
    assert said in caplog.text
    assert "; 2 were let in without it and are not counted at all" in caplog.text


# --- two machines ------------------------------------------------------------------------------------------------

POLICY = """\
name: small
promise: {max_error: 0.1}
upstreams: {main: {kind: openai_chat, base_url: "BASE", model: m-1, price: {completion: 10000}}}
ladder: [main]
tiers: [[draft, samples, meanings]]
evidence: {samples: {n: 3}, meanings: {judge: lexical}}
signals: [vote_share]
calibrator: vote_share
rule: {answer_at: 0.8}
"""
CLIENTS = {
    "fast": ("--requests", "12"),
    "rich": ("--spend", "1/total"),
    "alone": ("--concurrency", "1"),
}
HELD = threading.Event()
HTTP = httpx.Client(timeout=30, verify=False)


def held_up(handler: Any, asked: dict[str, Any]) -> None:
    """Answers at once, unless it is asked to wait."""
    if "hold" in str(asked["messages"]):
        HELD.wait(30)
    chat("Nigeria")(handler, asked)


def ask(serving: Serving, client: str, text: str = "Where is Lagos?") -> httpx.Response:
    body = {"model": "gate", "messages": [{"role": "user", "content": text}], "max_tokens": 2}
    return HTTP.post(f"{serving.url}/v1/chat/completions", json=body, headers=serving.bearer(client))


def used_by(serving: Serving, client: str) -> dict[str, Any]:
    ran = gate("keys", "usage", "--config", serving.folder / "server.yaml", "--json")
    return next(each for each in ran.json["keys"] if each["name"] == client)


@pytest.fixture
def machines(redis: RedisServer, tmp_path: Path) -> Iterator[tuple[Serving, Serving]]:
    """Two servers, each with a folder of its own, that share a store and nothing else."""
    shared = {"url": redis.url, "prefix": "machines", "timeout": 5.0, "lease": 1}
    folders = [tmp_path / "one", tmp_path / "two"]
    HELD.clear()
    with FaultyServer(held_up) as upstream, ExitStack() as running:
        keys = made_keys(tmp_path, CLIENTS)
        for folder in folders:
            folder.mkdir()
            shutil.copy(tmp_path / "keys.yaml", folder)
            (folder / "small.yaml").write_text(POLICY.replace("BASE", upstream.url))

        def start(folder: Path) -> Serving:
            entered = serving(folder, [folder / "small.yaml"], known=keys, state="state", shared=shared)
            return running.enter_context(entered)

        with ThreadPoolExecutor(2) as pool:
            one, two = pool.map(start, folders)
        yield one, two
        HELD.set()


def test_two_machines_keep_every_limit_together(machines: tuple[Serving, Serving], redis: RedisServer) -> None:
    one, two = machines
    with ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        fast = list(pool.map(lambda at: ask((one, two)[at % 2], "fast").status_code, range(30)))
        assert {*fast} == {200, 429}
        assert 12 <= fast.count(200) <= 12 + int((time.monotonic() - began) / 5)
        used = settled(one, "fast")
        assert used["requests"] == fast.count(200)
        cost, tokens = used["money"] / used["requests"], used["tokens"] / used["requests"]

        rich = list(pool.map(lambda at: ask((one, two)[at % 2], "rich").status_code, range(40)))
        assert {*rich} == {200, 429}
        spent = settled(two, "rich")
        assert spent["requests"] == rich.count(200)
        assert spent["money"] == pytest.approx(cost * spent["requests"])
        assert 1 - cost <= spent["money"] <= 1 + 8 * cost, "no more than what was under way when it was spent"

        broken = pool.submit(ask, one, "alone", "hold on")
        foreseen = settled(two, "alone", under_way=1)
        assert ask(two, "alone").json()["error"]["code"] == "rate_limit_exceeded"
        one.process.kill()
        one.process.wait(10)
        with pytest.raises(httpx.TransportError):
            broken.result(30)
    redis.restart()
    assert settled(two, "alone") == foreseen, "its lease is over, and what it was charged stays, once"
    until = time.monotonic() + 20
    while (status := ask(two, "alone").status_code) != 200:  # after a restart the store is used again in a moment
        assert status == 503
        assert time.monotonic() < until
    after = settled(two, "alone")
    assert (after["requests"], after["tokens"] - foreseen["tokens"]) == (2, tokens)
    assert ask(two, "rich").json()["error"]["code"] == "insufficient_quota"


def settled(serving: Serving, client: str, under_way: int = 0) -> dict[str, Any]:
    """What it has used ever, once so many of its requests are under way."""
    until = time.monotonic() + 20
    while (used := used_by(serving, client))["under_way"] != under_way:
        assert time.monotonic() < until, used
        time.sleep(0.02)
    total: dict[str, Any] = used["total"]
    return total
