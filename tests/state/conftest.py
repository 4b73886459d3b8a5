"""One server of each kind for all tests of what is kept in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import postgres
from tests.redis_server import RedisServer, redis_server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres() as url:
        yield url
