"""The store of an address; nothing is connected yet."""

from __future__ import annotations

import importlib.util

import pytest

from gate.errors import ConfigError, MissingExtra
from gate.state.opening import open_store
from gate.state.postgres_store import PostgresStore
from gate.state.redis_store import RedisStore


def test_each_address_has_its_store() -> None:
    redis = open_store("redis://nowhere.example/0", prefix="ours", timeout=1)
    assert isinstance(redis, RedisStore)
    assert redis.key("u", "a").startswith("ours:{")
    postgres = open_store("postgresql://nowhere.example/db", prefix="ours")
    assert isinstance(postgres, PostgresStore)
    assert (postgres.schema, postgres.timeout, postgres.circuit.up) == ("ours", 0.25, True)
    with pytest.raises(ConfigError, match="cannot be read"):
        open_store("sqlite:///x.db")


@pytest.mark.parametrize("prefix", ["pg_x", "information_schema"])
def test_what_postgresql_keeps_to_itself_is_no_prefix(prefix: str) -> None:
    with pytest.raises(ConfigError, match=f"'{prefix}' names a schema that PostgreSQL keeps to itself"):
        open_store("postgresql://nowhere.example/db", prefix=prefix)
    assert isinstance(open_store("redis://nowhere.example/0", prefix=prefix), RedisStore)


@pytest.mark.parametrize(("url", "extra"), [("redis://h", "redis"), ("postgresql://h/d", "postgres")])
def test_a_driver_that_is_not_installed_is_named(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("gate.state.redis_store", "gate.state.postgres_store"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None)
    assert importlib.util.find_spec("gate") is not None
    with pytest.raises(MissingExtra, match=rf"gate-llm\[{extra}\]"):
        open_store(url)
