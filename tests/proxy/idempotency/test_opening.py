"""Where keys are kept, by the settings; and two servers of one store: what comes to both is answered once."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from openai import OpenAI

from gate.errors import ConfigError
from gate.proxy.counting import Used
from gate.proxy.idempotency.file_keys import FileKeys
from gate.proxy.idempotency.key_store import KeyStore
from gate.proxy.idempotency.memory_keys import MemoryKeys
from gate.proxy.idempotency.opening import open_once
from gate.proxy.idempotency.postgres_keys import PostgresKeys
from gate.proxy.idempotency.redis_keys import RedisKeys
from gate.proxy.key_file import added
from gate.proxy.redis_counters import RedisCounters
from gate.proxy.settings import IdempotencySettings, ServerSettings
from gate.state.opening import open_store
from gate.state.redis_store import RedisStore
from tests.proxy.gate_process import Serving, scripted_policy, serving
from tests.proxy.scripted_upstream import scripted
from tests.redis_server import RedisServer
from tests.upstreams.faulty_server import FaultyServer


def kept_in(settings: ServerSettings, url: str = "") -> KeyStore | None:
    store = open_store(url) if url else None
    once = open_once(settings, store, lambda outcome: None)
    return None if once is None else once._store


@pytest.mark.anyio
async def test_keys_are_kept_where_everything_shared_is(tmp_path: Path) -> None:
    assert isinstance(kept_in(ServerSettings()), MemoryKeys)
    in_file = kept_in(ServerSettings(state=tmp_path))
    assert isinstance(in_file, FileKeys)
    await in_file.aclose()
    assert (tmp_path / "idempotency.db").exists()
    shared = ServerSettings.model_validate({"state": tmp_path, "shared": {"url": "redis://h:1"}})
    assert isinstance(kept_in(shared, "redis://h:1"), RedisKeys)
    assert isinstance(kept_in(shared, "postgresql://u@h/d"), PostgresKeys)
    assert kept_in(ServerSettings(idempotency=IdempotencySettings(enabled=False))) is None


@pytest.mark.anyio
async def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServerSettings(idempotency=IdempotencySettings(secret_env="GATE_TEST_SECRET"))
    monkeypatch.setenv("GATE_TEST_SECRET", "s3")
    once = open_once(settings, None, lambda outcome: None)
    assert once is not None
    assert once._secret == b"s3"
    monkeypatch.delenv("GATE_TEST_SECRET")
    with pytest.raises(ConfigError, match="GATE_TEST_SECRET"):
        open_once(settings, None, lambda outcome: None)


# --- two servers -------------------------------------------------------------------------------------------------

RATE = {"requests_per_minute": 10_000, "tokens_per_minute": 10_000_000}


@dataclass
class Pair:
    servers: tuple[Serving, Serving]
    upstream: FaultyServer
    redis: str
    key: str
    go: threading.Event = field(default_factory=threading.Event)
    """Lets the upstream answer what holds the word ``wait``."""

    def headers(self, key: str = "") -> dict[str, str]:
        bearer = {"authorization": f"Bearer {self.key}"}
        return {**bearer, "idempotency-key": key} if key else bearer

    @property
    def asked(self) -> int:
        return len(self.upstream.asked)

    def decisions(self) -> list[str]:
        """Their ids, as both servers' logs have them."""
        found: list[str] = []
        for server in self.servers:
            with closing(sqlite3.connect(server.folder / "decisions.db")) as log:
                found += [row[0] for row in log.execute("SELECT id FROM gate_decisions")]
        return found

    def used(self) -> Used:
        async def looked_up() -> Used:
            store = open_store(self.redis, prefix="pair", timeout=5.0)
            assert isinstance(store, RedisStore)
            try:
                return (await RedisCounters(store).usage("app")).total
            finally:
                await store.aclose()

        return asyncio.run(looked_up())

    def under_way(self) -> int:
        shown = [httpx.get(f"{each.url}/metrics", headers=self.headers()).text for each in self.servers]
        return sum(int(float(re.findall(r"^gate_in_flight (\S+)", text, re.M)[0])) for text in shown)


@pytest.fixture(scope="module")
def pair(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    go = threading.Event()

    def behave(handler: Any, asked: dict[str, Any]) -> None:
        if "wait" in str(asked):
            go.wait(20)
        scripted(handler, asked)

    folders = [tmp_path_factory.mktemp(name) for name in ("left", "right")]
    key = added(folders[0] / "keys.yaml", "app", {"rate": RATE, "roles": ["ask", "metrics"]})

    with FaultyServer(behave) as upstream, ExitStack() as stack, ThreadPoolExecutor(2) as pool:

        def started(folder: Path) -> Serving:
            policy = scripted_policy(folder, upstream.url, "scripted")
            log = {"url": f"sqlite:///{folder / 'decisions.db'}"}
            shared = {"url": redis.url, "prefix": "pair", "timeout": 5}
            once = {"lease": 1, "wait_seconds": 30}
            arguments = ("--keys", str(folders[0] / "keys.yaml"))
            made = {"log": log, "shared": shared, "idempotency": once, "dashboard": False}
            return stack.enter_context(serving(folder, [policy], arguments=arguments, **made))

        left, right = pool.map(started, folders)
        try:
            yield Pair((left, right), upstream, redis.url, key, go)
        finally:
            go.set()


def asking(text: str = "Where is Lagos?") -> dict[str, Any]:
    return {"model": "gate", "messages": [{"role": "user", "content": text}]}


def when(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


async def all_at_once(pair: Pair, number: int, key: str) -> list[httpx.Response]:
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=30) as client, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                client.post(
                    pair.servers[place % 2].url + "/v1/chat/completions",
                    json=asking("wait: where is Lagos?"),
                    headers=pair.headers(key),
                )
            )
            for place in range(number)
        ]
        await asyncio.to_thread(when, lambda: pair.under_way() >= number)
        pair.go.set()
    return [task.result() for task in tasks]


def alone(pair: Pair) -> tuple[int, Used]:
    """What one request asks of the upstream, and is charged."""
    asked, used = pair.asked, pair.used()
    reply = httpx.post(pair.servers[0].url + "/v1/chat/completions", json=asking(), headers=pair.headers())
    assert reply.status_code == 200
    when(lambda: pair.used().requests == used.requests + 1 and pair.used().tokens > used.tokens)
    after = pair.used()
    return pair.asked - asked, Used(1, after.tokens - used.tokens, after.money - used.money)


@pytest.mark.timeout(60)
def test_eight_at_once_through_both_are_one_answer_one_decision_and_one_charge(pair: Pair) -> None:
    pair.go.clear()
    before, asked = pair.used(), pair.asked
    replies = asyncio.run(all_at_once(pair, 8, "eight"))
    once = pair.asked - asked
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert len({reply.headers["x-gate-decision-id"] for reply in replies}) == 1
    assert sum("x-gate-idempotent-replay" not in reply.headers for reply in replies) == 1
    when(lambda: bool(pair.decisions()))
    assert pair.decisions() == [replies[0].headers["x-gate-decision-id"]]
    when(lambda: pair.used().tokens > before.tokens)
    after = pair.used()
    assert after.requests - before.requests == 8
    asked_by_one, used_by_one = alone(pair)
    assert once == asked_by_one
    assert after.tokens - before.tokens == pytest.approx(used_by_one.tokens, abs=20), "the question is longer"


class Losing(httpx2.HTTPTransport):
    """Loses the first response, once the server has sent it."""

    lost = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        if not self.lost:
            self.lost += 1
            response.read()
            response.close()
            raise httpx2.ReadError("connection reset", request=request)
        return response


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.timeout(60)
def test_the_openai_client_tries_again_and_is_charged_once(pair: Pair, stream: bool) -> None:
    asked_by_one, _ = alone(pair)
    used, asked = pair.used(), pair.asked
    losing = Losing()
    with (
        httpx2.Client(transport=losing) as transport,
        OpenAI(base_url=f"{pair.servers[1].url}/v1", api_key=pair.key, http_client=transport, max_retries=2) as client,
    ):
        raw = client.chat.completions.with_raw_response.create(
            **asking(), stream=stream, extra_headers={"Idempotency-Key": f"lost-{stream}"}
        )
        said: Any = raw.parse()
        text = (
            "".join(chunk.choices[0].delta.content or "" for chunk in said if chunk.choices)
            if stream
            else said.choices[0].message.content
        )
    assert losing.lost == 1
    assert (text, raw.headers["x-gate-idempotent-replay"]) == ("Lagos is in Nigeria.", "true")
    assert pair.asked - asked == asked_by_one
    assert pair.used().requests - used.requests == 2


@pytest.mark.timeout(60)
def test_what_is_kept_in_the_store_tells_nothing(pair: Pair, redis: RedisServer) -> None:
    url = pair.servers[0].url + "/v1/chat/completions"
    assert httpx.post(url, json=asking(), headers=pair.headers("order-17-of-team")).status_code == 200

    async def everything() -> bytes:
        store = open_store(redis.url, prefix="pair", timeout=5.0)
        assert isinstance(store, RedisStore)
        client = store._connected()
        try:
            keys = [key async for key in client.scan_iter(match="pair:*:i")]
            return repr([(key, await client.hgetall(key)) for key in keys]).encode()
        finally:
            await store.aclose()

    stored = asyncio.run(everything())
    assert len(stored) > 1000
    for word in (b"order-17-of-team", b"Lagos", b"Nigeria"):
        assert word not in stored


@pytest.mark.timeout(60)
def test_when_the_one_that_works_on_it_is_killed_the_other_answers_once(pair: Pair) -> None:
    """The last: one of the two is no more after it."""
    asked_by_one, _ = alone(pair)
    pair.go.clear()
    (left, right), asked = pair.servers, pair.asked
    ask = {"json": asking("wait: where is Lima?"), "headers": pair.headers("killed"), "timeout": 30}

    def told(server: Serving) -> httpx.Response | None:
        try:
            return httpx.post(server.url + "/v1/chat/completions", **ask)
        except httpx.HTTPError:
            return None

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(told, left)
        when(lambda: pair.asked > asked)
        repeats = [pool.submit(told, right) for _ in range(4)]
        left.process.kill()
        assert first.result() is None
        died, before = time.monotonic(), pair.asked
        when(lambda: pair.asked > before)  # the lease is over, and one of those who wait goes on
        assert time.monotonic() - died < 10
        pair.go.set()
        replies = [each.result() for each in repeats]
    assert {reply.status_code for reply in replies if reply} == {200}
    assert sum("x-gate-idempotent-replay" not in reply.headers for reply in replies if reply) == 1
    assert pair.asked - before == asked_by_one
    made = {reply.headers["x-gate-decision-id"] for reply in replies if reply}
    assert len(made) == 1
    when(lambda: made <= {*pair.decisions()})
    again = told(right)
    assert again is not None
    assert again.headers["x-gate-idempotent-replay"] == "true"
