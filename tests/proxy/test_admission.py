"""The way in: turns in order, bodies within limits of size and time, headers with one meaning, an id for everyone."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.proxy import admission
from gate.proxy.admission import Admission
from gate.proxy.protocol import guarded
from gate.proxy.settings import LimitSettings
from tests.proxy.live_server import live
from tests.proxy.raw_http import POST, exchange
from tests.proxy.served import key_of, keys_of, service_of

Headers = list[tuple[bytes, bytes]]


class Asked:
    """One request to an application, from outside."""

    def __init__(self, headers: Headers | None = None, *parts: bytes, path: str = "/v1/x", ends: bool = True) -> None:
        length = [(b"content-length", str(len(b"".join(parts))).encode())] if parts else []
        self.scope = {"type": "http", "method": "POST", "path": path, "headers": [*length, *(headers or [])]}
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for number, part in enumerate(parts):
            more = number + 1 < len(parts) or not ends
            self.incoming.put_nowait({"type": "http.request", "body": part, "more_body": more})
        self.sent: list[dict[str, Any]] = []

    async def to(self, app: Callable[..., Awaitable[None]]) -> Asked:
        await app(self.scope, self.incoming.get, self._send)
        return self

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]


class Desk:
    """An application that answers when it is told to, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.open = asyncio.Event()
        self.busy = self.busiest = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.busy += 1
        self.busiest = max(self.busy, self.busiest)
        try:
            message = await receive()
            assert not message["more_body"]
            self.seen.append(scope)
            self.bodies.append(message["body"])
            await self.open.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"theirs")]})
            await send({"type": "http.response.body", "body": b"ok"})
        finally:
            self.busy -= 1


@pytest.fixture(autouse=True)
def _brief(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes any more where no real client sends."""
    if "url" not in request.fixturenames:
        monkeypatch.setattr(admission, "_LINGER", 0.005)


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def limits(**changed: Any) -> LimitSettings:
    return LimitSettings(**{"body_bytes": 1024, "concurrency": 2, "waiting": 2, "wait_seconds": 5.0, **changed})


def served(asked: Asked, **changed: Any) -> tuple[Asked, Desk]:
    """One request, answered at once."""

    async def run() -> tuple[Asked, Desk]:
        desk = Desk()
        desk.open.set()
        app = Admission(desk, limits(**changed))
        await asked.to(app)
        assert (app.under_way, app.waiting, app._held, app._reading) == (0, 0, 0, 0)
        return asked, desk

    return asyncio.run(run())


# --- turns -------------------------------------------------------------------------------------------------------


def test_as_many_as_may_are_worked_on_others_wait_in_order_and_more_are_turned_away() -> None:
    async def run() -> None:
        desk = Desk()
        app = Admission(desk, limits())
        async with asyncio.TaskGroup() as group:
            asked = [Asked(None, bytes([number])) for number in range(5)]
            for number, each in enumerate(asked[:4]):
                group.create_task(each.to(app))
                await soon(lambda number=number: app.under_way + app.waiting == number + 1)  # type: ignore[misc]
            assert (app.under_way, app.waiting) == (2, 2)
            await asked[4].to(app)
            assert asked[4].status == 503
            assert asked[4].headers[b"retry-after"] == b"5"
            assert (asked[4].error["type"], asked[4].error["code"]) == ("server_error", "overloaded")
            assert b"connection" not in asked[4].headers
            watched = Asked(path="/healthz")
            desk.open.set()
            await watched.to(app)
            assert watched.status == 200
        assert desk.bodies == [b"\0", b"\1", b"", b"\2", b"\3"]
        assert (desk.busiest, app.under_way, app.waiting, app._held) == (3, 0, 0, 0)
        assert app.turned_away == {"overloaded": 1}
        assert [each.status for each in asked] == [200, 200, 200, 200, 503]

    asyncio.run(run())


def test_clients_take_turns_however_they_write_their_keys() -> None:
    keys = keys_of(many={}, few={})
    known = service_of(keys=keys).known

    async def run() -> None:
        desk = Desk()
        app = Admission(desk, limits(concurrency=1, waiting=6), known=known)
        ways = [[(b"authorization", b"bearer" + b" " * spaces + key_of("many").encode())] for spaces in (1, 2, 3)]
        ways += [[(b"x-api-key", key_of("many").encode())], [*ways[0], (b"x-api-key", key_of("many").encode())]]
        few = [(b"authorization", f"Bearer {key_of('few')}".encode())]
        async with asyncio.TaskGroup() as group:
            group.create_task(Asked(ways[0], b"0").to(app))
            await soon(lambda: app.under_way == 1)
            for number, way in enumerate([*ways, ways[0]]):
                group.create_task(Asked(way, b"many%d" % number).to(app))
            await soon(lambda: app.waiting == 6)
            assert list(app._room._queues) == ["many"]
            group.create_task(Asked(few, b"few").to(app))  # the room is full: who has most gives way
            await soon(lambda: app.shed["share"] == 1)
            desk.open.set()
        assert desk.bodies.index(b"few") <= 2, "the next but one"

    asyncio.run(run())


def test_who_waits_too_long_is_turned_away_and_who_leaves_is_forgotten() -> None:
    async def run() -> None:
        desk = Desk()
        app = Admission(desk, limits(concurrency=1, wait_seconds=0.05))
        async with asyncio.TaskGroup() as group:
            first, gone, late = (Asked(None, b"x") for _ in range(3))
            group.create_task(first.to(app))
            await soon(lambda: app.under_way == 1)
            leaving = group.create_task(gone.to(app))
            await soon(lambda: app.waiting == 1)
            gone.leave()
            await leaving
            assert (gone.sent, app.waiting) == ([], 0)
            await late.to(app)
            assert (late.status, late.error["code"], app.waiting) == (503, "overloaded", 0)
            desk.open.set()
        assert (first.status, app.under_way, len(desk.seen)) == (200, 0, 1)

    asyncio.run(run())


def test_no_place_is_lost_when_work_is_cancelled_or_fails() -> None:
    async def run() -> None:
        desk = Desk()
        app = Admission(desk, limits(concurrency=1))
        async with asyncio.TaskGroup() as group:
            first, second, third = (group.create_task(Asked(None, b"x").to(app)) for _ in range(3))
            await soon(lambda: app.waiting == 2)
            first.cancel()
            second.cancel()  # both in one moment: the turn that the first hands on comes to one who is leaving
            await soon(lambda: len(desk.seen) == 2)
            desk.open.set()
            await third
        assert (app.under_way, app.waiting, app._held) == (0, 0, 0)

        async def broken(scope: Any, receive: Any, send: Any) -> None:
            raise RuntimeError

        app = Admission(broken, limits(concurrency=1))
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await Asked(None, b"x").to(app)
        assert (app.under_way, app._held) == (0, 0)

    asyncio.run(run())


@given(st.lists(st.sampled_from(["come", "finish", "leave", "cancel"]), max_size=40))
def test_whatever_happens_in_whatever_order_turns_are_kept(events: list[str]) -> None:
    async def run() -> None:
        gates: list[asyncio.Event] = []
        order: list[int] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            order.append(scope["number"])
            await gates[scope["number"]].wait()

        door = Admission(app, LimitSettings(concurrency=2, waiting=3))
        asked: list[Asked] = []
        tasks: list[asyncio.Task[Asked]] = []
        async with asyncio.TaskGroup() as group:
            for event in events:
                waiting = [n for n, task in enumerate(tasks) if not task.done() and n not in order]
                working = [n for n in order if not tasks[n].done()]
                assert len(working) == min(2, len(working) + len(waiting)) == door.under_way
                assert len(waiting) == door.waiting <= 3
                if event == "come":
                    gates.append(asyncio.Event())
                    asked.append(Asked())
                    asked[-1].scope["number"] = len(tasks)
                    tasks.append(group.create_task(asked[-1].to(door)))
                elif event == "finish" and working:
                    gates[working[0]].set()
                elif event == "leave" and waiting:
                    asked[waiting[0]].leave()
                elif event == "cancel" and working + waiting:
                    tasks[(working + waiting)[-1]].cancel()
                for _ in range(12):  # everything that follows happens
                    await asyncio.sleep(0)
            for gate in gates:
                gate.set()
        assert order == sorted(order), "first come, first served"
        assert (door.under_way, door.waiting) == (0, 0)

    asyncio.run(run())


# --- bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [(b"x" * 1024,), (b"x" * 1000, b"", b"x" * 24)])
def test_a_body_within_the_limit_comes_in_one_piece(parts: tuple[bytes, ...]) -> None:
    asked, desk = served(Asked(None, *parts))
    assert (asked.status, desk.bodies) == (200, [b"x" * 1024])
    asked = Asked([(b"transfer-encoding", b"chunked")])
    for part in parts:
        asked.incoming.put_nowait({"type": "http.request", "body": part, "more_body": True})
    asked.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    assert served(asked)[1].bodies == [b"x" * 1024]


def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_kept() -> None:
    asked, desk = served(Asked([(b"content-length", b"1025")]))
    assert (asked.status, asked.error["code"], desk.seen) == (413, "request_too_large", [])
    assert asked.headers[b"connection"] == b"close"


def test_chunks_are_cut_at_the_limit() -> None:
    asked = Asked([(b"transfer-encoding", b"chunked")])
    for _ in range(100):
        asked.incoming.put_nowait({"type": "http.request", "body": b"x" * 500, "more_body": True})
    served(asked)
    assert (asked.status, asked.headers[b"connection"]) == (413, b"close")
    assert asked.incoming.qsize() == 88, "three were read, and nine thrown away so that the client hears why"


def test_a_body_that_dribbles_is_given_up_and_keeps_nobody_out() -> None:
    async def run() -> None:
        desk = Desk()
        desk.open.set()
        app = Admission(desk, limits(concurrency=1, read_seconds=0.1))
        async with asyncio.TaskGroup() as group:
            slow = Asked([(b"content-length", b"100")])
            slow.incoming.put_nowait({"type": "http.request", "body": b"x", "more_body": True})
            group.create_task(slow.to(app))
            await soon(lambda: app._held == 1)
            assert (await Asked(None, b"y").to(app)).status == 200
        assert (slow.status, slow.error["code"], slow.headers[b"connection"]) == (408, "request_timeout", b"close")
        assert desk.bodies == [b"y"]
        assert (app.under_way, app._held, app._reading) == (0, 0, 0)

    asyncio.run(run())


def test_a_client_that_leaves_before_its_body_is_whole_is_forgotten() -> None:
    asked = Asked(None, b"x", ends=False)
    asked.leave()
    asked, desk = served(asked)
    assert (asked.sent, desk.seen) == ([], [])


def test_all_bodies_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MOST_HELD", 2000)

    async def run() -> None:
        desk = Desk()
        app = Admission(desk, limits(concurrency=1))
        async with asyncio.TaskGroup() as group:
            for held in (1000, 2000):
                group.create_task(Asked(None, b"x" * 1000).to(app))
                await soon(lambda held=held: app._held == held)  # type: ignore[misc]
            third = await Asked(None, b"x").to(app)
            assert (third.status, third.error["code"]) == (503, "overloaded")
            desk.open.set()
        assert app._held == 0

    asyncio.run(run())


def test_not_more_may_send_at_once_than_may_be_inside() -> None:
    async def run() -> None:
        app = Admission(Desk(), limits(concurrency=1, waiting=1))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(Asked([(b"content-length", b"1")]).to(app)) for _ in range(2)]
            await soon(lambda: app._reading == 2)
            third = await Asked(None, b"x").to(app)
            assert (third.status, third.error["code"]) == (503, "overloaded")
            for task in tasks:
                task.cancel()
        assert app._reading == 0

    asyncio.run(run())


# --- headers -----------------------------------------------------------------------------------------------------


def test_nobody_can_pretend_to_be_gate() -> None:
    sent = [(b"x-gate-action", b"answer"), (b"x-gate-", b"x"), (b"x-gated", b"kept"), (b"accept", b"a")]
    _, desk = served(Asked([*sent, (b"accept", b"b")]))
    assert desk.seen[0]["headers"][:-1] == [(b"x-gated", b"kept"), (b"accept", b"a"), (b"accept", b"b")]


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        (b"abc-1._Z", True),
        (b"x" * 128, True),
        (b"x" * 129, False),
        (b"", False),
        (b"a b", False),
        (b"a\n", False),
        (b"\xff", False),
        (b"a\r\nset-cookie: x", False),
        (b"../../etc", False),
        (None, False),
    ],
)
def test_every_request_has_an_id(given_: bytes | None, kept: bool) -> None:
    asked, desk = served(Asked([] if given_ is None else [(b"x-request-id", given_)]))
    (scope,) = desk.seen
    made = asked.headers[b"x-request-id"]
    assert (made == given_) is kept
    assert admission._ID.fullmatch(made)
    assert [value for name, value in scope["headers"] if name == b"x-request-id"] == [made]
    assert scope["state"]["request_id"] == made.decode()
    assert [name for name, _ in asked.sent[0]["headers"]] == [b"x-request-id"], "the application's own is replaced"


def test_a_request_begins_when_all_of_it_is_there() -> None:
    before = time.monotonic()
    _, desk = served(Asked([]))
    assert before <= desk.seen[0]["state"]["began"] <= time.monotonic()


def test_ids_differ_also_for_those_who_are_refused() -> None:
    asked = [served(Asked([(b"content-length", b"9999")]))[0] for _ in range(20)]
    assert len({each.headers[b"x-request-id"] for each in asked}) == 20


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], 400),
        ([(b"x-api-key", b"a"), (b"x-api-key", b"a")], 400),
        ([(b"idempotency-key", b"a"), (b"idempotency-key", b"b")], 400),
        ([(b"host", b"a"), (b"host", b"b")], 400),
        ([(b"content-length", b"1"), (b"content-length", b"1")], 400),
        ([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"content-length", b"-1")], 400),
        ([(b"content-length", b"1_0")], 400),
        ([(b"content-length", b"9" * 5000)], 400),
        ([(b"transfer-encoding", b"gzip, chunked")], 501),
        ([(b"transfer-encoding", b"gzip")], 501),
        ([(b"x-request-id", b"a"), (b"x-request-id", b"b")], 200),
        ([(b"accept", b"a"), (b"accept", b"b"), (b"x-a", b"\xff\xfe")], 200),
    ],
)
def test_what_has_two_meanings_is_refused(headers: Headers, status: int) -> None:
    asked, desk = served(Asked(headers))
    assert (asked.status, len(desk.seen)) == (status, status == 200)
    if status != 200:
        assert asked.headers[b"connection"] == b"close"
        assert asked.error.keys() == {"message", "type", "param", "code"}


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=8), st.binary(max_size=30))
def test_no_headers_raise_anything(headers: Headers, body: bytes) -> None:
    asked = Asked([(name.lower(), value) for name, value in headers], *([body] if body else []))
    asked.leave()
    served(asked, read_seconds=0.01)
    assert asked.status in {200, 400, 408, 413, 501, None}


def test_other_kinds_of_connection_pass_through() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope = {"type": "lifespan"}
    asyncio.run(Admission(app, limits())(scope, None, None))  # type: ignore[arg-type]
    assert seen == [scope]


# --- on a real server --------------------------------------------------------------------------------------------


async def size_of(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        message = await receive()
        said = str(len(message["body"])).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
        await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    settings = LimitSettings(body_bytes=2**20, read_seconds=0.5)
    with live(Admission(size_of, settings), http=guarded(settings), lifespan="off") as address:
        yield f"{address}/v1/x"


def test_a_client_that_sends_too_much_hears_why(url: str) -> None:
    ok = httpx.post(url, content=b"x" * 2**20)
    assert (ok.status_code, ok.text) == (200, str(2**20))
    assert admission._ID.fullmatch(ok.headers["x-request-id"].encode())
    refused = httpx.post(url, content=b"x" * (3 * 2**20))
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
    in_chunks = httpx.post(url, content=iter([b"x" * 100_000] * 30))
    assert (in_chunks.status_code, in_chunks.headers["connection"]) == (413, "close")


def test_a_hundred_megabytes_are_not_read(url: str) -> None:
    began = time.monotonic()
    parts = (b"%x\r\n%s\r\n" % (2**20, b"x" * 2**20) for _ in range(100))
    reply = exchange(url, POST + b"transfer-encoding: chunked\r\n\r\n", *parts)
    assert reply is None or (reply.status, reply.closed) == (413, True)
    assert time.monotonic() - began < 30
    reply = exchange(url, POST + b"expect: 100-continue\r\ncontent-length: 104857600\r\n\r\n")
    assert reply is not None
    assert (reply.status, reply.closed) == (413, True), "refused without being invited to send"


def test_a_body_sent_byte_by_byte_is_given_up(url: str) -> None:
    reply = exchange(url, POST + b"content-length: 100\r\n\r\n", *[b"x"] * 40, gap=0.02)
    assert reply is not None
    assert (reply.status, reply.code, reply.closed) == (408, "request_timeout", True)
    assert reply.seconds < 5


def test_of_a_form_less_is_taken(url: str) -> None:
    form = url.replace("/v1/x", "/dashboard/login")
    assert httpx.post(form, content=b"x" * 2**16).text == str(2**16)
    refused = httpx.post(form, content=b"x" * (2**16 + 1))
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")


def test_of_a_stranger_no_body_is_read_and_those_with_a_key_do_not_feel_how_many_there_are() -> None:
    settings = LimitSettings(concurrency=1, waiting=1, read_seconds=5)

    async def unkeyed(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not knows(scope["headers"]):
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"3")]})
            await send({"type": "http.response.body", "body": b"who"})
        else:
            await size_of(scope, receive, send)

    def knows(headers: Any) -> str | None:
        return "mine" if (b"authorization", b"Bearer mine") in list(headers) else None

    app = Admission(unkeyed, settings, known=knows)
    with live(app, http=guarded(settings), lifespan="off") as address, ExitStack() as open_ones:
        host, port = urlsplit(address).hostname, urlsplit(address).port
        for _ in range(8):  # each holds its connection open and sends one byte of many
            stranger = open_ones.enter_context(socket.create_connection((host, port), timeout=5))
            stranger.sendall(b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{")
        told = stranger.recv(1000)
        assert told.startswith(b"HTTP/1.1 401")
        assert b"connection: close" in told
        for path in ("/v1/x", "/beta/x"):
            mine = httpx.post(address + path, content=b"12345", headers={"authorization": "Bearer mine"})
            assert (mine.status_code, mine.text) == (200, "5")
            assert httpx.post(address + path, content=b"12345").status_code == 401
        assert (app.under_way, app.waiting) == (0, 0)
