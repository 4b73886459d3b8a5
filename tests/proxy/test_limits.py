"""Refusals in OpenAI's shape, with how long to wait, and what is left in every response."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from gate.errors import RequestError
from gate.proxy.counter_file import CounterFile
from gate.proxy.counters import _FRESH, Counters
from gate.proxy.counting import Standing, Used
from gate.proxy.keys import Client, Rate, Spend
from gate.proxy.limits import Limiter, SharedLimiter, duration, rate_headers
from gate.proxy.redis_counters import RedisCounters
from gate.proxy.shared_counters import SharedCounters
from gate.proxy.wire_errors import wire_error
from gate.state.opening import open_store
from gate.state.redis_store import RedisStore
from tests.proxy.test_counters import HOUR, Clock
from tests.redis_server import RedisServer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(clock: Clock) -> Iterator[Counters]:
    file = CounterFile.open(None, _FRESH)
    with closing(Counters(file, monotonic=lambda: clock.up, wall=lambda: clock.wall)) as made:
        yield made


def client(spend: Spend | None = None, **rate: int) -> Client:
    return Client("team-a", rate=Rate(**rate), spend=spend)


def refusal(limiter: Limiter, who: Client, *estimated: float) -> RequestError:
    with pytest.raises(RequestError) as caught:
        limiter.admit(who, *estimated)  # type: ignore[arg-type]
    assert caught.value.status == 429
    return caught.value


def test_a_response_says_what_is_left(counters: Counters) -> None:
    limiter = Limiter(counters)
    who = client(requests_per_minute=600, tokens_per_minute=6000)
    admitted = limiter.admit(who, 1500)
    assert admitted.headers == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "4500",
        "x-ratelimit-reset-tokens": "15s",
    }
    limiter.settle(admitted, 7500, 0.0)
    owed = limiter.headers(who)
    assert owed["x-ratelimit-remaining-tokens"] == "0"
    assert owed["x-ratelimit-reset-tokens"] == "1m15s"
    assert limiter.admit(client()).headers == {}, "no limit, nothing to say"


def test_too_many_requests_say_when_to_come_again(counters: Counters, clock: Clock) -> None:
    limiter = Limiter(counters)
    who = client(requests_per_minute=4)
    for _ in range(4):
        limiter.admit(who)
    error = refusal(limiter, who)
    assert (error.code, error.retry_after) == ("rate_limit_exceeded", 15)
    assert str(error) == "this key may use 4 requests a minute: try again in 15s"
    assert wire_error(error).headers == {"retry-after": "15"}
    clock.pass_(15)
    limiter.admit(who)


def test_tokens_beyond_the_minute_and_beyond_any_minute(counters: Counters) -> None:
    limiter = Limiter(counters)
    who = client(tokens_per_minute=100)
    limiter.admit(who, 80)
    error = refusal(limiter, who, 60)
    assert (error.code, error.retry_after) == ("rate_limit_exceeded", 24)
    error = refusal(limiter, who, 101)
    assert (error.code, error.retry_after) == ("rate_limit_exceeded", None)
    assert str(error) == "this request may take 101 tokens, more than this key has in a minute: 100"


def test_a_request_that_ends_lets_the_next_in(counters: Counters) -> None:
    limiter = Limiter(counters)
    who = client(concurrency=1)
    first = limiter.admit(who)
    error = refusal(limiter, who)
    assert (error.code, error.retry_after) == ("rate_limit_exceeded", 1)
    limiter.settle(first, 10, 0.0)
    second = limiter.admit(who)
    limiter.refund(second)
    limiter.refund(second)
    limiter.settle(first, 10, 0.0)
    limiter.admit(who)
    refusal(limiter, who)
    usage = counters.usage("team-a")
    assert (usage.total.requests, usage.total.tokens) == (2, 10)


def test_money_is_a_quota(counters: Counters) -> None:
    limiter = Limiter(counters)
    who = client(Spend(limit=1.5, per="day"))
    limiter.settle(limiter.admit(who, 0, 1.0), 10, 1.25)
    error = refusal(limiter, who, 0, 0.5)
    assert (error.code, error.retry_after) == ("insufficient_quota", 12 * HOUR)
    assert str(error) == "this key has spent what it may, or would with this request: $1.5 a day"
    error = refusal(limiter, client(Spend(limit=1, per="total")))
    assert (error.code, error.retry_after) == ("insufficient_quota", None)
    assert str(error).endswith("$1 in all")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_counts_of_several_machines_are_told_in_the_same_words(redis: RedisServer) -> None:
    store = open_store(redis.url, prefix="limits", timeout=5)
    assert isinstance(store, RedisStore)
    limiter, who = SharedLimiter(SharedCounters(RedisCounters(store))), client(requests_per_minute=2)
    assert limiter.headers(who) == {}
    admitted = await limiter.admit(who, 10)
    assert admitted.headers["x-ratelimit-remaining-requests"] == "1"
    second = await limiter.admit(who)
    with pytest.raises(RequestError, match="this key may use 2 requests a minute") as caught:
        await limiter.admit(who)
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    assert limiter.headers(who)["x-ratelimit-remaining-requests"] == "0"
    limiter.settle(admitted, 20, 0.0)
    limiter.refund(second)
    await limiter.counters.write()
    assert (await limiter.counters.usage(who.name)).total == Used(1, 20, 0.0)
    await store.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_counts_that_cannot_be_had_let_nobody_in() -> None:
    store = open_store("unix:///nowhere/redis.sock")
    assert isinstance(store, RedisStore)
    limiter = SharedLimiter(SharedCounters(RedisCounters(store)))
    for _ in range(2):
        with pytest.raises(RequestError, match="lets nobody in unlimited") as caught:
            await limiter.admit(client(requests_per_minute=2))
        assert (caught.value.status, caught.value.code, caught.value.retry_after) == (503, "limits_unavailable", 1)
    await store.aclose()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        *((0, "0ms"), (-1, "0ms"), (0.0201, "21ms"), (0.02, "20ms"), (0.1, "100ms"), (0.9999, "1s"), (1.5, "1.5s")),
        *((10.0, "10s"), (60, "1m0s"), (360, "6m0s"), (3661.25, "1h1m1.25s")),
    ],
)
def test_durations_look_as_openai_writes_them(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_only_what_is_limited_is_said() -> None:
    made = rate_headers(Rate(tokens_per_minute=10), Standing(float("inf"), 10, 0))
    assert made == {
        "x-ratelimit-limit-tokens": "10",
        "x-ratelimit-remaining-tokens": "10",
        "x-ratelimit-reset-tokens": "0ms",
    }
