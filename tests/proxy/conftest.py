"""One server for all clients: ``gate serve`` with pocket models and with a scripted upstream, behind keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import postgres
from tests.proxy.fort import attacked
from tests.proxy.gate_process import Serving, scripted_policy, serving
from tests.proxy.scripted_upstream import scripted
from tests.redis_server import RedisServer, redis_server
from tests.upstreams.faulty_server import FaultyServer

HOUSE = {
    "app": ("--model", "*", "--role", "ask", "--role", "feedback", "--role", "metrics"),
    "tenant": ("--policy", "strict", "--role", "ask", "--role", "feedback"),
    "narrow": ("--policy", "strict", "--policy", "balanced", "--model", "*"),
}


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """One for all that leave it running."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def upstream() -> Iterator[FaultyServer]:
    with FaultyServer(scripted) as server:
        yield server


@pytest.fixture(scope="session")
def house(upstream: FaultyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The policies: ``scripted`` (the default), ``early``, which annotates, ``observing``, ``balanced``, ``strict``."""
    folder = tmp_path_factory.mktemp("house")
    ours = [
        scripted_policy(folder, upstream.url, "scripted"),
        scripted_policy(folder, upstream.url, "early", streaming="annotate"),
        scripted_policy(folder, upstream.url, "observing", mode="observe"),
    ]
    log = {"url": f"sqlite:///{folder / 'decisions.db'}", "keep": "scalars"}
    with serving(folder, [*ours, "balanced", "strict"], keys=HOUSE, log=log) as running:
        yield running


@pytest.fixture(scope="session")
def fort(upstream: FaultyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with attacked(tmp_path_factory.mktemp("fort"), upstream.url) as running:
        yield running
