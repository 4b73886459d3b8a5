"""What keys have used, read from where a server counts."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from gate.errors import ConfigError, GateError
from gate.proxy.counters import Counters
from gate.proxy.counting import Taken
from gate.proxy.key_usage import usage_by_key
from gate.proxy.keys import Rate, hash_of
from gate.proxy.postgres_counters import PostgresCounters
from gate.proxy.redis_counters import RedisCounters
from gate.proxy.settings import ServerSettings, SharedSettings
from gate.proxy.shared_counters import SharedCounters
from gate.state.opening import open_store
from gate.state.postgres_store import PostgresStore
from gate.state.redis_store import RedisStore
from tests.proxy.served import SALT, key_of
from tests.redis_server import RedisServer


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    path.write_text(
        yaml.safe_dump({"keys": [{"name": each, "hash": hash_of(key_of(each), SALT)} for each in ("a", "b")]})
    )
    path.chmod(0o600)
    return path


def test_of_one_machine(tmp_path: Path, keys: Path) -> None:
    settings = ServerSettings(keys=keys, state=tmp_path / "state")
    with pytest.raises(ConfigError, match="nothing is counted yet"):
        usage_by_key(settings)
    with closing(Counters.open(settings.state)) as counters:
        taken = counters.take("a", Rate(), tokens=5, money=0.5)
        assert isinstance(taken, Taken)
        used = usage_by_key(settings)
        assert (used["a"].day.tokens, used["a"].day.money, used["a"].under_way) == (5, 0.5, 1)
        assert used["b"].total.requests == 0
    with pytest.raises(ConfigError, match="keeps no keys"):
        usage_by_key(ServerSettings())


def test_of_several(keys: Path, redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def take() -> None:
        store = open_store(redis.url, prefix="usage", timeout=5)
        assert isinstance(store, RedisStore)
        assert isinstance(await SharedCounters(RedisCounters(store)).take("b", Rate(), tokens=7), Taken)
        await store.aclose()

    asyncio.run(take())
    used = usage_by_key(ServerSettings(keys=keys, shared=SharedSettings(url=redis.url, prefix="usage", timeout=5)))
    assert (used["b"].total.tokens, used["b"].under_way, used["a"].total.tokens) == (7, 1, 0)
    gone = ServerSettings(keys=keys, shared=SharedSettings(url="unix:///nowhere/redis.sock"))
    with pytest.raises(GateError, match=r"the shared store cannot be used: Redis at /nowhere/redis.sock: it cannot be"):
        usage_by_key(gone)
    assert not caplog.records, "it is told once"


def test_who_may_only_read_may_see_it(keys: Path, database: str) -> None:
    async def take() -> None:
        store = open_store(database, prefix="readable", timeout=5)
        assert isinstance(store, PostgresStore)
        counters = PostgresCounters(store)
        store.needs("reader", 1, [*granted])
        assert isinstance(await SharedCounters(counters).take("b", Rate(), tokens=7), Taken)
        await store.aclose()

    granted = (
        "CREATE ROLE reader LOGIN",
        "GRANT USAGE ON SCHEMA readable TO reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA readable TO reader",
    )
    asyncio.run(take())
    shared = SharedSettings(url=database.replace("gate@", "reader@"), prefix="readable", timeout=5)
    assert usage_by_key(ServerSettings(keys=keys, shared=shared))["b"].total.tokens == 7


def test_where_nothing_is_counted_that_is_told_and_nothing_made(keys: Path, redis: RedisServer, database: str) -> None:
    for url in (redis.url, database):
        typo = ServerSettings(keys=keys, shared=SharedSettings(url=url, prefix="typo", timeout=5))
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"nothing is counted yet under the prefix 'typo' in (Redis|Postg)"):
                usage_by_key(typo)

    async def made() -> list[Any]:
        there, held = open_store(database, prefix="usage", timeout=5), open_store(redis.url, timeout=5)
        assert isinstance(there, PostgresStore)
        assert isinstance(held, RedisStore)
        found = await there.fetch("SELECT nspname FROM pg_namespace WHERE nspname = 'typo'")
        found += await held._connected().keys("typo:*")
        await there.aclose()
        await held.aclose()
        return found

    assert asyncio.run(made()) == []
