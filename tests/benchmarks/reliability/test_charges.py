"""What keys were charged with, beside what was asked, and that it is read from where servers count."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from gate.proxy.counters import Counters
from gate.proxy.keys import Rate
from gate.proxy.limits import SharedLimiter
from gate.proxy.serving import limits_of
from gate.proxy.settings import ServerSettings, SharedSettings
from tests.benchmarks.reliability import charges
from tests.benchmarks.reliability.accounting import Asked, Kind
from tests.benchmarks.reliability.charges import NAMES, Account, bounds, due, wrongly
from tests.benchmarks.reliability.charges import accounts as read
from tests.benchmarks.reliability.questions import TIGHT, TIGHT_REQUESTS, Item
from tests.benchmarks.reliability.worlds import Servers, Setup, Unavailable
from tests.redis_server import redis_server


def one(tenant: str, kind: Kind, status: int = 200, code: str = "") -> Asked:
    return Asked(Item("1", tenant), 0.0, 0.1, kind, status, code)


ASKED = [
    *[one("alpha", Kind.RIGHT)] * 5,
    one("alpha", Kind.WITHHELD),
    one("alpha", Kind.REFUSED, 503, "overloaded"),
    one("alpha", Kind.UNSENT),
    one("beta", Kind.WRONG),
    one("beta", Kind.REFUSED, 502, "upstream_error"),
    one("beta", Kind.REFUSED, 429, "rate_limit_exceeded"),
    *[one(TIGHT, Kind.RIGHT)] * 4,
    *[one(TIGHT, Kind.REFUSED, 429, "rate_limit_exceeded")] * 9,
]


def accounts(alpha: int, beta: int, tight: int) -> dict[str, Account]:
    return {name: Account(count, 0.0) for name, count in zip(NAMES, (alpha, beta, tight), strict=True)}


def test_what_is_answered_is_charged_and_what_failed_may_be() -> None:
    assert bounds(ASKED) == {"alpha": (6, 6), "beta": (1, 3), TIGHT: (4, 4)}


def test_charged_twice_not_at_all_or_to_another_is_wrong() -> None:
    was = accounts(100, 10, 1)
    assert wrongly(ASKED, was, accounts(106, 12, 5)) == (12, 0)
    assert wrongly(ASKED, was, accounts(112, 12, 5)) == (18, 6)
    assert wrongly(ASKED, was, accounts(100, 12, 5)) == (6, 6)
    assert wrongly(ASKED, was, accounts(105, 14, 5)) == (13, 2)
    assert wrongly(ASKED, was, accounts(106, 11, 9)) == (15, 4)


def test_who_has_room_is_let_in() -> None:
    assert due(ASKED, Account(0, 3.9)) == (3, 0)
    assert due(ASKED, Account(0, float("inf"))) == (TIGHT_REQUESTS, TIGHT_REQUESTS - 4)
    assert due(ASKED[-2:], Account(0, 6.0)) == (2, 2)
    assert due(ASKED, Account(0, -0.5)) == (0, 0)


def made(folder: Path, shared: Any, redis: Any = None) -> Any:
    server = {"policies": ["held.yaml"], "keys": "keys.yaml", "state": str(folder / "state")}
    (folder / "server.yaml").write_text(yaml.safe_dump({**server, **shared}))
    setup = Setup("x", shared="redis" if redis else "")
    return cast(Any, SimpleNamespace(setup=setup, servers=Servers(redis=redis), folder=folder))


def test_the_accounts_of_one_machine_are_read(tmp_path: Path) -> None:
    world, tight = made(tmp_path, {}), Rate(requests_per_minute=TIGHT_REQUESTS)
    with closing(Counters.open(tmp_path / "state")) as counters:
        for _ in range(2):
            counters.take(TIGHT, tight)
        counters.take("beta", Rate())
        found = read(world)
    assert {name: account.requests for name, account in found.items()} == {"alpha": 0, "beta": 1, TIGHT: 2}
    assert TIGHT_REQUESTS - 2 <= found[TIGHT].left < TIGHT_REQUESTS - 1


def test_accounts_that_cannot_be_read_are_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charges, "_CAUGHT_UP", 0.1)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "counters").write_bytes(b"garbage" * 1000)
    with pytest.raises(Unavailable, match="what keys are charged with cannot be read: "):
        read(made(tmp_path, {}))


def test_the_accounts_that_servers_share_are_read(tmp_path: Path) -> None:
    with redis_server() as redis, ExitStack() as ending:
        store, limiter = limits_of(ServerSettings(shared=SharedSettings(url=redis.url, prefix="x")), ending)
        assert store is not None
        assert isinstance(limiter, SharedLimiter)

        async def taken() -> None:
            await limiter.counters.prepare()
            await limiter.counters.take(TIGHT, Rate(requests_per_minute=TIGHT_REQUESTS))
            await store.aclose()

        asyncio.run(taken())
        found = read(made(tmp_path, {"shared": {"url_env": "GATE_BENCH_SHARED", "prefix": "x"}}, redis))
    assert {name: account.requests for name, account in found.items()} == {"alpha": 0, "beta": 0, TIGHT: 1}
    assert TIGHT_REQUESTS - 1 <= found[TIGHT].left < TIGHT_REQUESTS
