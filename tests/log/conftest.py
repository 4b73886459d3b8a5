"""Databases for the tests of the log: a SQLite file, and a schema of its own on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gate.log.opening import DecisionLog, open_log
from tests.postgres import postgres

_SCHEMAS = count()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres() as address:
        yield address


@pytest.fixture
def postgresql(server: str) -> str:
    """The address of an empty schema."""
    import psycopg

    name = f"log{next(_SCHEMAS)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")  # type: ignore[call-overload]
    return f"{server}&options=-csearch_path%3D{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of either kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql"))
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture
def opened(url: str) -> Iterator[Any]:
    """Opens logs, which forget nothing unless they are told to, and closes them in the end."""
    logs: list[DecisionLog] = []

    def make(at: str = url, **options: Any) -> DecisionLog:
        logs.append(open_log(at, **{"retention_days": None, **options}))
        return logs[-1]

    yield make
    for log in logs:
        log.close()
