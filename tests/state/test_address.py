"""Addresses of shared stores: read, shown without what is secret, and never repeated in an error."""

from __future__ import annotations

import pytest

from gate.errors import ConfigError
from gate.state.address import holds_password, read_store_address

SECRET = "hunter2-of-the-tests"


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        (f"redis://:{SECRET}@cache.example:6400/2", "redis", "Redis at cache.example:6400"),
        (f"rediss://app:{SECRET}@cache.example?ssl_ca_certs=ca.pem", "redis", "Redis at cache.example:6379"),
        ("unix:///run/redis.sock?db=1", "redis", "Redis at /run/redis.sock"),
        (f"postgresql://app:{SECRET}@db.example/gate", "postgresql", "PostgreSQL gate at db.example"),
        (f"postgres://app@db.example/gate?password={SECRET}", "postgresql", "PostgreSQL gate at db.example"),
        ("postgresql://gate@/postgres?host=/run/pg", "postgresql", "PostgreSQL postgres at /run/pg"),
        ("postgresql+psycopg:///", "postgresql", "PostgreSQL postgres at this machine"),
    ],
)
def test_an_address_is_read_and_shown_without_its_secrets(text: str, kind: str, place: str) -> None:
    address = read_store_address(text)
    assert (address.kind, address.place) == (kind, place)
    assert SECRET not in repr(address)
    assert holds_password(text) == (SECRET in text)
    assert address.url.split(":")[0] in {"redis", "rediss", "unix", "postgresql"}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "cache.example",
            "mysql://h/d",
            "redis://",
            "redis://h/name",
            "redis://h:port/0",
            "unix://",
            "redis://[::1",
        ),
        f"redis://:{SECRET}@h:99999/0",
        f"redis://:{SECRET}@h/0?socket_timeout=0",
    ],
)
def test_what_is_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="the address of the shared store") as caught:
        read_store_address(text)
    assert SECRET not in str(caught.value)
    assert holds_password(text) == (SECRET in text)
