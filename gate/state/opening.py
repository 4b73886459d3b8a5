"""Opening the store of an address. Nothing is connected yet: that happens when it is first used."""

from __future__ import annotations

from gate.state.address import read_store_address
from gate.state.postgres_store import PostgresStore
from gate.state.redis_store import RedisStore

Store = RedisStore | PostgresStore
"""Either is asked its own way; both have ``place``, ``circuit``, ``prepare``, ``ping`` and ``aclose``."""


def open_store(url: str, *, prefix: str = "gate", timeout: float = 0.25) -> Store:
    """``prefix``: of the keys in Redis, or the schema in PostgreSQL: a plain name, there not ``pg_…``. ``timeout``:
    seconds for one call.

    Raises `ConfigError` for an address that is none and a prefix that may not be, `MissingExtra` where the driver is
    not installed.
    """
    address = read_store_address(url)
    made = RedisStore if address.kind == "redis" else PostgresStore
    return made(address, prefix, timeout)
