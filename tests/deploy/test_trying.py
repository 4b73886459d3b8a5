"""What a server would not start with is found by trying, and nothing stays open of it."""

from __future__ import annotations

import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gate.deploy.trying import try_out
from gate.errors import ConfigError
from gate.log.opening import open_log
from gate.proxy.settings import (
    IdempotencySettings,
    LogSettings,
    ServerSettings,
    SharedSettings,
    WebhookSettings,
)
from tests.log.decided import entry, kept
from tests.redis_server import redis_server


@pytest.fixture
def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"log": LogSettings(url_env="NOT_THERE_LOG")}, "'NOT_THERE_LOG' is not set"),
        ({"shared": SharedSettings(url_env="NOT_THERE_STORE")}, "'NOT_THERE_STORE' is not set"),
        ({"idempotency": IdempotencySettings(secret_env="NOT_THERE_SEAL")}, "'NOT_THERE_SEAL' is not set"),
        ({"webhook": WebhookSettings(url="http://x", secret_env="NOT_THERE_SIGN")}, "'NOT_THERE_SIGN' is not set"),
        ({"keys": Path("none/keys.yaml")}, "keys.yaml"),
        ({"policies": ("balanced", "none/mine.yaml")}, "mine.yaml"),
        ({"host": "0.0.0.0"}, "loopback only"),
    ],
)
def test_what_is_not_there_is_named(said: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        try_out(ServerSettings(**said))
    assert named in str(caught.value)


def test_a_log_that_is_away_is_named(nobody: str) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigError, match="log") as caught:
        try_out(ServerSettings(log=LogSettings(url=f"postgresql://gate:hidden@{nobody}/gate")))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("when_down", ["refuse", "local"])
def test_a_store_that_is_away_is_named(nobody: str, when_down: Any) -> None:
    pytest.importorskip("redis")
    with pytest.raises(ConfigError, match="the shared store"):
        try_out(ServerSettings(shared=SharedSettings(url=f"redis://{nobody}/0", when_down=when_down)))


def test_what_can_start_is_let_go_of_again(tmp_path: Path) -> None:
    before = threading.active_count()
    with redis_server() as redis:
        log = LogSettings(url=f"sqlite:///{tmp_path / 'log.db'}")
        try_out(ServerSettings(shared=SharedSettings(url=redis.url), log=log, state=tmp_path / "state"))
    assert threading.active_count() == before
    assert not (tmp_path / "log.db").exists(), "whoever serves makes it"


def test_nothing_in_a_log_is_touched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    log = open_log(url, retention_days=None)
    kept(log, entry("old", at=1_000_000_000.0))
    log.close()
    try_out(ServerSettings(log=LogSettings(url=url, retention_days=9)))
    with closing(sqlite3.connect(tmp_path / "log.db")) as held:
        assert held.execute("SELECT count(*) FROM gate_decisions").fetchone() == (1,)
        held.execute("UPDATE gate_log SET value = '99' WHERE name = 'version'")
        held.commit()
    with pytest.raises(ConfigError, match="a newer gate made this decision log"):
        try_out(ServerSettings(log=LogSettings(url=url)))
