"""A repeat gets what the first got: while that is under way, after it, and whatever became of its client."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gate.errors import UpstreamError
from gate.log.entries import Entry
from gate.proxy.answering import answer
from gate.proxy.counters import Counters
from gate.proxy.counting import Taken
from gate.proxy.doors import CHAT, DOORS, Door
from gate.proxy.idempotency import once
from gate.proxy.idempotency.key_store import Found, Held, ResponseUnread
from gate.proxy.idempotency.memory_keys import MemoryKeys
from gate.proxy.idempotency.once import MOST_REPEATS, Once
from gate.proxy.keys import Rate
from gate.proxy.limits import Limiter
from gate.proxy.service import Service
from gate.proxy.settings import AuditSettings, IdempotencySettings, LogSettings, ServerSettings
from gate.serving_settings import ServingSettings
from gate.state.circuit import StoreDown
from tests.proxy.fake_gateway import GENERATION, FakeGateway, outcome_of
from tests.proxy.reading import Noted, seen
from tests.proxy.served import bearer, keys_of, service_of
from tests.proxy.wire import Wire

pytestmark = pytest.mark.anyio
EACH_DOOR = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
KEY = {"idempotency-key": "k-1"}
QUICK = IdempotencySettings(wait_seconds=10, lease=1)


class Flaky(MemoryKeys):
    """Goes away, or takes what it is told and says nothing of it, when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.down: set[str] = set()
        self.deaf: set[str] = set()
        self.asked = Counter[str]()
        self.claiming: asyncio.Event | None = None
        self.keeping: asyncio.Event | None = None
        """What such a call waits for."""

    async def _maybe(self, what: str, work: Awaitable[Any]) -> Any:
        self.asked[what] += 1
        waits = {"claim": self.claiming, "keep": self.keeping}.get(what)
        if waits is not None:
            try:
                await waits.wait()
            except asyncio.CancelledError:
                work.close()  # type: ignore[attr-defined]
                raise
        if what in self.down:
            work.close()  # type: ignore[attr-defined]
            raise StoreDown("it is away", unsent=True)
        made = await work
        if what in self.deaf:
            raise StoreDown("its answer was lost")
        return made

    async def claim(self, held: Held, lease: float) -> Found:
        found: Found = await self._maybe("claim", super().claim(held, lease))
        if found.state == "kept" and "read" in self.down:
            raise ResponseUnread("it is away")
        return found

    async def keep(self, held: Held, content: bytes | None, seconds: float) -> bool:
        what = "keep" if content is not None else "drop"
        return bool(await self._maybe(what, super().keep(held, content, seconds)))

    async def free(self, held: Held) -> None:
        await self._maybe("free", super().free(held))

    async def renew(self, held: Sequence[Held], lease: float) -> None:
        await self._maybe("renew", super().renew(held, lease))

    async def sweep(self) -> None:
        await self._maybe("sweep", super().sweep())


class Durable(Noted):
    """A log that takes a decision, or does not, as it is told."""

    away = False

    def __init__(self, *takes: bool) -> None:
        super().__init__()
        self.takes = list(takes)
        self.amended: dict[str, int] = {}

    def keep(self, entry: Entry) -> Future[bool]:
        self.put(entry)
        told: Future[bool] = Future()
        told.set_result(self.takes.pop(0))
        return told

    def amend(self, decisions: Iterable[str], status: int) -> None:
        self.amended.update(dict.fromkeys(decisions, status))


class House:
    """A service that answers once, and what it did."""

    def __init__(self, gateway: FakeGateway, settings: IdempotencySettings = QUICK, **more: Any) -> None:
        self.gateway, self.store, self.told, self.noted = (
            gateway,
            Flaky(),
            Counter[str](),
            more.pop("log", None) or Noted(),
        )
        self.counters = Counters.open(None)
        if "server" in more:
            more["settings"] = more.pop("server")
        when_down = more.pop("when_down", "refuse")
        app = {"rate": more.pop("rate", {"requests_per_minute": 100}), "spend": more.pop("spend", None)}
        self.once = Once(
            self.store, settings, lease=1.0, when_down=when_down, told=lambda what: self.told.update([what])
        )
        keys = keys_of(app=app, other={})
        self.service: Service = service_of(
            gateway, keys=keys, log=self.noted, once=self.once, limiter=Limiter(self.counters), **more
        )

    async def ask(self, door: Door = CHAT, key: str | None = "k-1", who: str = "app", **fields: Any) -> Wire:
        wire = self.wire(door, key, who, **fields)
        await answer(self.service, door, wire.exchange)
        return wire

    def wire(self, door: Door = CHAT, key: str | None = "k-1", who: str = "app", **fields: Any) -> Wire:
        return Wire(door, {**bearer(who), **({} if key is None else {"idempotency-key": key})}, **fields)

    @property
    def charged(self) -> tuple[int, int]:
        used = self.counters.usage("app").total
        return used.requests, used.tokens


@asynccontextmanager
async def under_way(*wires: Wire, house: House, door: Door = CHAT) -> AsyncIterator[None]:
    """These are answered, beside what is done meanwhile."""
    async with asyncio.TaskGroup() as group:
        for wire in wires:
            group.create_task(answer(house.service, door, wire.exchange))
        await when(lambda: house.gateway.started.is_set())
        yield


async def when(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)


def same(first: Wire, again: Wire) -> None:
    assert (again.status, again.content) == (first.status, first.content)
    ours = [
        {name: value for name, value in wire.headers.items() if name.startswith("x-gate-")} for wire in (first, again)
    ]
    assert ours[1] == {**ours[0], "x-gate-idempotent-replay": "true"}
    assert again.headers["content-type"] == first.headers["content-type"]


COST = outcome_of(GENERATION).cost.tokens


@EACH_DOOR
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_a_repeat_gets_the_same_and_costs_a_request_and_no_token(door: Door, stream: bool, mode: Any) -> None:
    house = House(FakeGateway(serving=ServingSettings(mode=mode)))
    first = await house.ask(door, stream=stream)
    requests, tokens = house.charged
    again = await house.ask(door, stream=stream)
    assert first.status == 200
    same(first, again)
    assert (len(house.gateway.asked), house.noted.entries.qsize()) == (1, 1)
    assert house.charged == (requests + 1, tokens)
    assert house.told == {"first": 1, "replayed": 1}


async def test_an_early_stream_is_replayed_whole() -> None:
    house = House(FakeGateway(written=("Nigeria ", 0.05, "is where Lagos is."), serving=_annotating()))
    first, again = await house.ask(stream=True), await house.ask(stream=True)
    assert seen(CHAT, iter(again.events)).text == GENERATION.text
    assert again.headers["x-gate-decision-id"] == first.headers["x-gate-decision-id"]
    assert again.events == [event for event in first.events if event.name != "comment"]


def _annotating(**more: Any) -> ServingSettings:
    return ServingSettings(streaming="annotate", **more)


async def test_abstentions_are_kept_also_as_errors() -> None:
    house = House(FakeGateway(lambda question: outcome_of(None), serving=ServingSettings(abstention="error")))
    first, again = await house.ask(), await house.ask()
    assert first.status == 422
    same(first, again)
    assert len(house.gateway.asked) == 1


async def test_a_key_is_of_one_client_and_one_door() -> None:
    house = House(FakeGateway())
    for door, who, key in (
        (CHAT, "app", "k-1"),
        (DOORS[1], "app", "k-1"),
        (CHAT, "other", "k-1"),
        (CHAT, "app", "k-2"),
    ):
        assert "x-gate-idempotent-replay" not in (await house.ask(door, key, who)).headers
    assert len(house.gateway.asked) == 4


async def test_a_key_is_no_other_requests() -> None:
    house = House(FakeGateway())
    await house.ask()
    other = await house.ask(temperature=0.5)
    assert (other.status, other.json["error"]["code"]) == (422, "idempotency_key_reused")
    assert other.json["error"]["param"] == "Idempotency-Key"
    others_own = await house.ask(who="other", temperature=0.5)
    assert others_own.status == 200, "nor does one client see what keys another has"


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "k\u00e9", "\t"])
async def test_what_is_no_key_is_refused(key: str) -> None:
    house = House(FakeGateway())
    wire = await house.ask(key=key)
    assert (wire.status, wire.json["error"]["code"]) == (400, "invalid_idempotency_key")
    assert not house.gateway.asked


async def test_without_a_key_nothing_is_kept_or_asked() -> None:
    house = House(FakeGateway())
    house.store.down = {"claim"}
    for _ in range(2):
        assert (await house.ask(key=None)).status == 200
    assert (len(house.gateway.asked), house.told) == (2, {})


async def test_where_it_is_off_the_client_is_told() -> None:
    gateway = FakeGateway()
    wire = Wire(headers=KEY)
    await answer(service_of(gateway), CHAT, wire.exchange)
    assert (wire.status, wire.headers["x-gate-idempotency"]) == (200, "off")


# --- while the first is under way --------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_repeats_wait_for_the_first_and_get_the_same(stream: bool) -> None:
    house = House(FakeGateway(seconds=0.1))
    wires = [house.wire(stream=stream) for _ in range(5)]
    async with under_way(*wires, house=house):
        pass
    firsts = [wire for wire in wires if "x-gate-idempotent-replay" not in wire.headers]
    assert len(firsts) == 1
    for wire in wires:
        if wire is not firsts[0]:
            same(firsts[0], wire)
    assert (len(house.gateway.asked), house.noted.entries.qsize(), house.charged) == (1, 1, (5, COST))


async def test_of_one_key_a_handful_waits_and_more_are_told_at_once_to_come_again() -> None:
    house = House(FakeGateway(seconds=0.2))
    wires = [house.wire() for _ in range(1 + MOST_REPEATS + 10)]
    async with under_way(*wires, house=house):
        await when(lambda: sum(wire.status == 409 for wire in wires) == 10)
        assert all(wire.status in (None, 409) for wire in wires), "the first is still under way"
        assert (await house.ask(key="k-2")).status == 200
    assert Counter(wire.status for wire in wires) == {200: 1 + MOST_REPEATS, 409: 10}
    assert not house.once._repeats


async def test_repeats_count_among_what_their_client_may_have_under_way() -> None:
    house = House(FakeGateway(seconds=0.2), rate={"concurrency": 2})
    first, second, third = (house.wire() for _ in range(3))
    async with under_way(first, second, house=house):
        await when(lambda: house.counters.usage("app").under_way == 2)
        await answer(house.service, CHAT, third.exchange)
        assert (third.status, third.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert (first.status, second.status, house.counters.usage("app").under_way) == (200, 200, 0)


async def test_repeats_count_in_the_minute_of_their_client() -> None:
    house = House(FakeGateway(), rate={"requests_per_minute": 3})
    replies = [await house.ask() for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert replies[2].headers["x-ratelimit-remaining-requests"] == "0"
    assert "retry-after" in replies[3].headers


async def test_who_has_no_token_and_no_money_left_still_gets_what_it_paid_for() -> None:
    rate, spend = {"requests_per_minute": 100, "tokens_per_minute": 300}, {"limit": 0.5, "per": "day"}
    house = House(FakeGateway(), rate=rate, spend=spend)
    first = await house.ask(max_tokens=8)
    used = house.counters.take("app", Rate.model_validate(rate), None, 1, 1.0)
    assert isinstance(used, Taken)
    house.counters.settle(used, 10_000, 1.0)
    assert (await house.ask(key="k-2", max_tokens=8)).status == 429
    same(first, await house.ask(max_tokens=8))


@pytest.mark.parametrize("fields", [{}, {"gate": {"budget": {"seconds": 0.01}}}])
async def test_who_waits_too_long_is_told_to_come_again(fields: dict[str, Any]) -> None:
    house = House(FakeGateway(seconds=0.3), IdempotencySettings(wait_seconds=10 if fields else 0.02))
    async with under_way(house.wire(**fields), house=house):
        late = await house.ask(**fields)
    assert (late.status, late.json["error"]["code"]) == (409, "idempotency_in_progress")
    assert late.headers["retry-after"] == "1"
    assert house.told == {"in_progress": 1, "first": 1}


async def test_who_leaves_while_waiting_takes_nothing_along() -> None:
    house = House(FakeGateway(seconds=0.2))
    first, waiting = house.wire(), house.wire()
    async with under_way(first, waiting, house=house):
        waiting.leaves.set()
    assert (first.status, waiting.status) == (200, None)
    assert (await house.ask()).content == first.content


async def test_what_fails_is_tried_anew_by_one_of_those_who_wait() -> None:
    tried: list[int] = []

    def answering(question: Any) -> Any:
        tried.append(1)
        return UpstreamError("small", "is broken") if len(tried) == 1 else outcome_of(GENERATION)

    house = House(FakeGateway(answering, seconds=0.05))
    wires = [house.wire() for _ in range(5)]
    async with under_way(*wires, house=house):
        pass
    assert sorted(wire.status or 0 for wire in wires) == [200, 200, 200, 200, 502]
    assert len(house.gateway.asked) == 2
    assert house.told == {"freed": 1, "first": 1, "replayed": 3}
    assert house.charged[0] == 5, "each once, also who tries anew"


@pytest.mark.parametrize("fields", [{}, {"stream": True}])
async def test_a_client_that_leaves_before_there_is_a_decision_frees_its_key(fields: dict[str, Any]) -> None:
    house = House(FakeGateway(seconds=5))
    first = house.wire(**fields)
    async with under_way(first, house=house):
        first.leaves.set()
    house.gateway.seconds = 0
    again = await house.ask(**fields)
    assert again.status == 200
    assert "x-gate-idempotent-replay" not in again.headers
    assert len(house.gateway.asked) == 2


class Slow(Wire):
    """A client that reads no further than the start, and then leaves."""

    async def _send(self, message: dict[str, Any]) -> None:
        await super()._send(message)
        if not self.leaves.is_set() and len(self.sent) == 2:
            await asyncio.sleep(30)


async def test_a_client_that_leaves_in_the_middle_of_a_decided_stream_finds_all_of_it() -> None:
    house = House(FakeGateway(written=("Nigeria ", "is where Lagos is."), serving=_annotating()))
    slow = Slow(CHAT, {**bearer("app"), **KEY}, stream=True)
    async with under_way(slow, house=house):
        await when(lambda: len(slow.sent) == 2)
        for _ in range(20):
            await asyncio.sleep(0)  # the verdict is there by now
        slow.leaves.set()
    again = await house.ask(stream=True)
    assert again.headers["x-gate-idempotent-replay"] == "true"
    whole = seen(CHAT, iter(again.events))
    assert (whole.text, whole.finish, whole.gate["action"]) == (GENERATION.text, "stop", "answer")
    assert (len(house.gateway.asked), house.noted.entries.qsize()) == (1, 1)


async def test_an_early_stream_that_breaks_off_is_tried_anew() -> None:
    answers: Sequence[Any] = [UpstreamError("small", "broke off"), outcome_of(GENERATION)]
    house = House(FakeGateway(lambda question: answers[len(house.gateway.asked) - 1], serving=_annotating()))
    house.gateway.draft, house.gateway.written = GENERATION, ("Nigeria ",)
    first, again = await house.ask(stream=True), await house.ask(stream=True)
    assert seen(CHAT, iter(first.events)).error is not None
    assert seen(CHAT, iter(again.events)).error is None
    assert len(house.gateway.asked) == 2


@pytest.mark.parametrize("fields", [{"model": "gpt-9"}, {"messages": []}])
async def test_what_is_refused_leaves_the_key_free(fields: dict[str, Any]) -> None:
    house = House(FakeGateway())
    assert (await house.ask(**fields)).status in (400, 404)
    assert (await house.ask()).status == 200


async def test_what_could_not_be_logged_costs_nothing_and_its_retry_is_charged_once() -> None:
    kept_in = LogSettings(url="sqlite:///x.db", durable=True)
    settings = ServerSettings(dashboard=False, audit=AuditSettings(share=0), log=kept_in)
    house = House(FakeGateway(), log=Durable(False, True), server=settings)
    first = await house.ask()
    assert (first.status, first.json["error"]["code"]) == (503, "log_unavailable")
    assert house.charged == (0, 0)
    second, third = await house.ask(), await house.ask()
    assert second.status == 200
    same(second, third)
    assert house.charged == (2, COST)
    unsent, sent = (house.noted.entries.get_nowait().record.id for _ in range(2))
    assert isinstance(house.noted, Durable)
    assert house.noted.amended == {unsent: 503}
    assert second.headers["x-gate-decision-id"] == sent


# --- what is not kept, and stores that are away ------------------------------------------------------------------


async def test_a_response_that_is_too_large_is_refused_rather_than_made_again() -> None:
    large = outcome_of(GENERATION.__class__("Lagos " * 1000))
    house = House(FakeGateway(lambda question: large), IdempotencySettings(max_bytes=1024))
    assert (await house.ask()).status == 200
    again = await house.ask()
    assert (again.status, again.json["error"]["code"]) == (409, "idempotency_response_not_kept")
    assert again.headers["x-should-retry"] == "false"
    assert (len(house.gateway.asked), house.told) == (1, {"first": 1, "not_kept": 1})


async def test_what_was_tampered_with_is_not_sent() -> None:
    house = House(FakeGateway())
    await house.ask()
    for row in house.store._rows.values():
        assert row.content is not None
        row.content = row.content[:-1] + bytes([row.content[-1] ^ 1])
    assert (await house.ask()).json["error"]["code"] == "idempotency_response_not_kept"


async def test_a_store_that_is_away_refuses_or_is_gone_without() -> None:
    house = House(FakeGateway())
    house.store.down = {"claim"}
    refused = await house.ask()
    assert (refused.status, refused.json["error"]["code"]) == (503, "idempotency_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert not house.gateway.asked
    house = House(FakeGateway(), when_down="local")
    house.store.down = {"claim"}
    assert [(await house.ask()).headers["x-gate-idempotency"] for _ in range(2)] == ["unavailable"] * 2


async def test_who_knows_of_a_first_never_goes_on_without() -> None:
    house = House(FakeGateway(seconds=0.3), when_down="local")
    first, second = house.wire(), house.wire()
    async with under_way(first, house=house), asyncio.TaskGroup() as group:
        house.once._working.clear()  # as if another process worked on it
        group.create_task(answer(house.service, CHAT, second.exchange))
        await asyncio.sleep(0.01)
        house.store.down = {"claim"}
    assert (first.status, second.status) == (200, 503)
    assert len(house.gateway.asked) == 1


@pytest.mark.parametrize("over", [False, True])
async def test_who_comes_while_it_is_worked_on_here_never_goes_on_without(over: bool) -> None:
    """``over``: its work is done before the store is given up."""
    house = House(FakeGateway(seconds=0.05), when_down="local")
    first = house.wire()
    late = house.wire()
    house.store.down = {"keep"}
    async with under_way(first, house=house), asyncio.TaskGroup() as group:
        house.store.down.add("claim")
        if over:
            house.store.down.remove("keep")
            house.store.claiming = asyncio.Event()
        group.create_task(answer(house.service, CHAT, late.exchange))
        await when(lambda: first.status is not None)
        if house.store.claiming is not None:
            await when(lambda: not house.once._working)
            house.store.claiming.set()
    assert (late.status, late.json["error"]["code"]) == (503, "idempotency_unavailable")
    assert (len(house.gateway.asked), house.charged[1]) == (1, COST)


@pytest.mark.parametrize("large", [False, True])
async def test_whose_answer_waits_to_be_kept_never_goes_on_without(large: bool) -> None:
    outcome = outcome_of(GENERATION.__class__("Lagos " * 1000) if large else GENERATION)
    house = House(FakeGateway(lambda question: outcome), IdempotencySettings(max_bytes=1024), when_down="local")
    house.store.down = {"keep", "drop"}
    assert (await house.ask()).status == 200
    assert len(house.once._endings) == large
    paid = house.charged[1]
    house.store.down.add("claim")
    assert [(await house.ask()).status for _ in range(2)] == [503, 503]
    assert (len(house.gateway.asked), house.charged[1]) == (1, paid)
    house.store.down -= {"keep", "drop"}
    await house.once.beat()
    assert not house.once._decided


async def test_what_came_to_nothing_is_gone_on_with_also_before_the_store_knows() -> None:
    outcomes = [UpstreamError("small", "is broken"), outcome_of(GENERATION)]
    house = House(FakeGateway(lambda question: outcomes.pop(0)), when_down="local")
    house.store.down = {"free"}
    assert (await house.ask()).status == 502
    house.store.down.add("claim")
    again = await house.ask()
    assert (again.status, again.headers["x-gate-idempotency"]) == (200, "unavailable")


async def test_a_claim_whose_answer_is_lost_is_taken_back() -> None:
    house = House(FakeGateway())
    house.store.deaf = {"claim"}
    assert (await house.ask()).status == 503
    house.store.deaf.clear()
    assert house.store._rows
    await house.once.beat()
    assert not house.store._rows, "nobody waits for its lease"
    assert (await house.ask()).status == 200
    assert len(house.gateway.asked) == 1


async def test_who_knows_of_a_response_that_cannot_be_read_never_goes_on_without() -> None:
    house = House(FakeGateway(), when_down="local")
    first = await house.ask()
    house.store.down = {"read"}
    unread = await house.ask()
    assert (unread.status, unread.json["error"]["code"]) == (503, "idempotency_unavailable")
    house.store.down.clear()
    same(first, await house.ask())
    assert (len(house.gateway.asked), house.once._endings) == (1, once.deque())


async def test_a_response_that_cannot_be_kept_is_kept_later_and_meanwhile_not_made_again() -> None:
    house = House(FakeGateway(), IdempotencySettings(wait_seconds=0.02))
    house.store.down = {"keep"}
    first = await house.ask()
    assert (first.status, first.headers["x-gate-idempotency"]) == (200, "unconfirmed")
    assert (await house.ask()).json["error"]["code"] == "idempotency_in_progress"
    with pytest.raises(StoreDown):
        await house.once.beat()
    house.store.down.clear()
    await house.once.beat()
    again = await house.ask()
    assert (again.content, again.headers["x-gate-idempotent-replay"]) == (first.content, "true")
    assert "x-gate-idempotency" not in again.headers
    assert len(house.gateway.asked) == 1


async def test_a_key_is_held_for_as_long_as_it_is_worked_on() -> None:
    house = House(FakeGateway(seconds=5))
    first = house.wire()
    async with under_way(first, house=house):
        (row,) = house.store._rows.values()
        before = row.until
        house.once._renewed -= 1.0  # a lease's third ago
        await house.once.beat()
        assert row.until > before
        house.store.down = {"free"}
        first.leaves.set()
    assert house.store._rows, "it could not be freed"
    house.store.down.clear()
    await house.once.aclose()
    assert not house.store._rows


async def test_a_response_that_comes_after_another_is_counted() -> None:
    house = House(FakeGateway(seconds=0.2))
    first = house.wire()
    async with under_way(first, house=house):
        (name,) = house.store._rows
        row = house.store._rows[name]
        row.token, row.content = "", b"another's"
    assert first.status == 200
    assert house.told == {"lost": 1, "first": 1}


@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize("fields", [{}, {"stream": True}])
@pytest.mark.parametrize("durable", [False, True])
async def test_whose_key_was_taken_over_meanwhile_gets_what_is_kept_and_pays_nothing(
    fields: dict[str, Any], error: bool, durable: bool
) -> None:
    """A worker that stood still for longer than its lease."""
    abstains = FakeGateway(
        lambda question: outcome_of(None if error else GENERATION),
        seconds=0.1,
        serving=ServingSettings(abstention="error"),
    )
    kept_in = LogSettings(url="sqlite:///x.db", durable=durable)
    server = ServerSettings(dashboard=False, audit=AuditSettings(share=0), log=kept_in)
    stood, other = House(abstains, server=server, log=Durable(True)), House(FakeGateway())
    other.once._store = stood.store
    late = stood.wire(**fields)
    async with under_way(late, house=stood):
        (row,) = stood.store._rows.values()
        row.until = 0.0
        answered = await other.ask(**fields)
    same(answered, late)
    assert "x-gate-idempotency" not in late.headers
    assert (stood.charged, other.charged) == ((1, 0), (1, COST))
    assert stood.told == {"lost": 1, "first": 1}
    entry = stood.noted.entries.get_nowait()
    assert isinstance(stood.noted, Durable)
    told = stood.noted.amended.get(entry.record.id) if durable else entry.status
    assert told == 499, "nobody was told of this decision"


@pytest.mark.parametrize("content", [None, b"no response"])
async def test_where_what_is_kept_instead_cannot_be_had_the_client_is_told(content: bytes | None) -> None:
    house = House(FakeGateway(seconds=0.1))
    first = house.wire()
    async with under_way(first, house=house):
        (row,) = house.store._rows.values()
        row.token, row.content = "", content
    assert (first.status, first.headers["x-gate-idempotency"]) == (200, "unconfirmed")
    assert house.charged == (1, COST)


async def test_a_stream_that_began_ends_as_it_began_whatever_is_kept() -> None:
    written = ("Nigeria ", 0.05, "is where Lagos is.")
    stood, other = House(FakeGateway(written=written, serving=_annotating())), House(FakeGateway())
    other.once._store = stood.store
    late = stood.wire(stream=True)
    async with under_way(late, house=stood):
        await when(lambda: len(late.sent) > 1)
        (row,) = stood.store._rows.values()
        row.until = 0.0
        await other.ask(stream=True)
    assert seen(CHAT, iter(late.events)).text == GENERATION.text
    assert (stood.charged, stood.told["lost"]) == ((1, COST), 1)


async def test_of_responses_that_find_no_room_to_wait_the_keys_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(FakeGateway(), IdempotencySettings(wait_seconds=0.02))
    house.store.down = {"keep"}
    first = await house.ask(key="k-0")
    monkeypatch.setattr(once, "MOST_BYTES", 2 * house.once._bytes + 100)
    for at in range(1, 5):
        assert (await house.ask(key=f"k-{at}")).headers["x-gate-idempotency"] == "unconfirmed"
    assert house.once._bytes <= once.MOST_BYTES
    assert len(house.once._held) == 5, "none is given up"
    with pytest.raises(StoreDown):
        await house.once.beat()
    codes = [(await house.ask(key=f"k-{at}")).json["error"]["code"] for at in range(5)]
    assert codes == ["idempotency_in_progress"] * 2 + ["idempotency_response_not_kept"] * 3
    house.store.down.clear()
    await house.once.beat()
    same_again = await house.ask(key="k-0")
    assert (same_again.content, same_again.headers["x-gate-idempotent-replay"]) == (first.content, "true")
    assert (await house.ask(key="k-4")).json["error"]["code"] == "idempotency_response_not_kept"
    assert (len(house.gateway.asked), house.told["lost"]) == (5, 3)
    assert (house.once._bytes, house.once._held) == (0, {})


async def test_what_is_freed_takes_no_room_of_responses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(once, "MOST_BYTES", 10)
    outcomes = [outcome_of(GENERATION), UpstreamError("small", "is broken")]
    house = House(FakeGateway(lambda question: outcomes.pop(0)))
    house.store.down = {"keep", "free"}
    await house.ask()
    assert house.once._bytes > once.MOST_BYTES, "the first that waits always may"
    assert (await house.ask(key="k-2")).status == 502
    assert (len(house.once._endings), house.told["lost"], caplog.text) == (1, 0, "")


@pytest.mark.parametrize("fails", ["sweep", "renew", "keep"])
async def test_what_fails_keeps_nothing_else_waiting(fails: str) -> None:
    outcomes = [outcome_of(GENERATION), UpstreamError("small", "is broken")]
    house = House(FakeGateway(lambda question: outcomes.pop(0)))
    house.store.down = {"keep", "free"}
    await house.ask()
    await house.ask(key="k-2")
    house.store.down = {fails}
    house.once._renewed -= 1.0
    house.once._swept -= 100
    for _ in range(3):
        with suppress(StoreDown):
            await house.once.beat()
    waiting = (len(house.once._endings), len(house.once._responses))
    assert waiting == (0, 1 if fails == "keep" else 0)
    assert house.store.asked["sweep"] == 1, "in its time, whatever came of it"
    assert house.store.asked["renew"] == 1


async def test_leases_are_renewed_and_keys_freed_while_something_large_takes_long() -> None:
    outcomes = [outcome_of(GENERATION), UpstreamError("small", "is broken")]
    house = House(FakeGateway(lambda question: outcomes.pop(0)))
    house.store.down = {"keep", "free"}
    await house.ask()
    house.store.down.clear()
    house.store.keeping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        heart = group.create_task(house.once.run())
        await when(lambda: house.store.asked["keep"] == 2)
        house.store.down = {"free"}
        await house.ask(key="k-2")
        house.store.down.clear()
        house.once._renewed -= 1.0
        await when(lambda: not house.once._endings and house.store.asked["renew"] > 0)
        assert house.once._responses
        heart.cancel()


async def test_keys_that_wait_to_be_freed_are_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(once, "MOST_WAITING", 1)
    house = House(FakeGateway(lambda question: UpstreamError("small", "is broken")))
    house.store.down = {"free"}
    for at in range(2):
        assert (await house.ask(key=f"k-{at}")).status == 502
    assert (len(house.once._endings), house.told["lost"], len(house.once._held)) == (1, 1, 1)
    assert "one is given up" in caplog.text


async def test_the_heart_beats_until_it_is_stopped_also_over_a_store_that_is_away() -> None:
    house = House(FakeGateway())
    house.store.down = {"keep"}
    async with asyncio.TaskGroup() as group:
        heart = group.create_task(house.once.run())
        first = await house.ask()
        await asyncio.sleep(0.01)
        house.store.down.clear()
        again = await house.ask()
        heart.cancel()
    assert again.content == first.content
