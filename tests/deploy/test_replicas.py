"""How many replicas, what several must not keep to themselves, and the configuration that Serve is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gate.deploy.replicas import Replicas, deployment_options, replica_settings, revision_of_policies, serve_config
from gate.errors import ConfigError
from gate.policy import find
from gate.proxy.settings import (
    IdempotencySettings,
    LimitSettings,
    LogSettings,
    ServerSettings,
    SharedSettings,
    read_settings,
)
from gate.proxy.workers import _CLOSING, GRACE

SHARED = SharedSettings(url="redis://127.0.0.1:6379/0")
APART: dict[str, Any] = {"idempotency": IdempotencySettings(enabled=False)}
"""What lets several run without a store that they share."""
LOGGED = LogSettings(url="postgresql://gate@127.0.0.1/gate")


@pytest.mark.parametrize(("least", "most"), [(0, 1), (3, 2), (-1, -1)])
def test_numbers_of_replicas_that_cannot_be(least: int, most: int) -> None:
    with pytest.raises(ConfigError, match="replicas cannot be"):
        Replicas(least, most)


def test_a_queue_of_nothing_cannot_be_aimed_at() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        Replicas(target_queue=0)


@pytest.mark.parametrize(
    ("said", "would_do"),
    [
        ({"keys": Path("keys.yaml"), **APART}, "shared: {url_env: GATE_SHARED_URL}"),
        ({"state": Path("state"), **APART}, "shared: {url_env: GATE_SHARED_URL}"),
        ({}, "idempotency: {enabled: false}"),
        ({"keys": Path("keys.yaml"), "shared": SHARED, "log": LogSettings(url="sqlite:///log.db")}, "GATE_LOG_URL"),
        ({"log": LogSettings(url="sqlite:///log.db"), **APART}, "GATE_LOG_URL"),
    ],
)
def test_several_keep_nothing_to_themselves(said: dict[str, Any], would_do: str) -> None:
    settings = ServerSettings(**said)
    with pytest.raises(ConfigError) as caught:
        replica_settings(settings, several=True)
    assert would_do in str(caught.value)
    assert replica_settings(settings, several=False).keys == settings.keys


def test_the_address_in_the_environment_is_looked_at_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServerSettings(log=LogSettings(url_env="GATE_TEST_LOG_URL"), **APART)
    monkeypatch.delenv("GATE_TEST_LOG_URL", raising=False)
    replica_settings(settings, several=True)
    monkeypatch.setenv("GATE_TEST_LOG_URL", "sqlite:///log.db")
    with pytest.raises(ConfigError, match="PostgreSQL"):
        replica_settings(settings, several=True)


def test_a_replica_is_one_worker_and_several_have_no_dashboard() -> None:
    settings = ServerSettings(workers=4, keys=Path("keys.yaml"), shared=SHARED, log=LOGGED)
    one, of_several = (replica_settings(settings, several=several) for several in (False, True))
    assert (one.workers, one.dashboard) == (1, True)
    assert (of_several.workers, of_several.dashboard) == (1, False)


def test_serve_lets_in_what_gate_lets_in_and_gate_refuses_the_rest() -> None:
    settings = ServerSettings(limits=LimitSettings(concurrency=10, waiting=5))
    options = deployment_options(settings, Replicas(2, 2))
    assert options["num_replicas"] == 2
    assert options["max_ongoing_requests"] > 10 + 5
    assert options["graceful_shutdown_timeout_s"] >= GRACE + _CLOSING


def test_a_replica_ends_only_when_another_runs_in_its_place() -> None:
    assert deployment_options(ServerSettings(), Replicas())["max_surge_percent"] > 0


def test_several_repeat_nothing_where_a_store_is_shared_or_repeats_mean_nothing() -> None:
    for said in ({"shared": SHARED}, APART):
        assert replica_settings(ServerSettings(**said), several=True).workers == 1


def test_the_queue_is_what_replicas_follow() -> None:
    options = deployment_options(ServerSettings(), Replicas(1, 40, target_queue=8))
    assert "num_replicas" not in options
    wanted = {"min_replicas": 1, "max_replicas": 40, "target_ongoing_requests": 8}
    assert options["autoscaling_config"] == wanted


@pytest.fixture
def server(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_bytes(find("balanced").read_bytes())
    beside = find("balanced").with_suffix(".calibrator.json")
    (tmp_path / beside.name).write_bytes(beside.read_bytes())
    path = tmp_path / "server.yaml"
    path.write_text("policies: [mine.yaml]\nidempotency: {enabled: false}\n")
    return path


def made(server: Path, **more: Any) -> Any:
    config = serve_config(server, read_settings(server), Replicas(2, 2), **more)
    return yaml.safe_load(yaml.safe_dump(dict(config)))


def test_another_policy_changes_the_user_config_alone(server: Path) -> None:
    before = made(server)
    policy = server.with_name("mine.yaml")
    policy.write_text(policy.read_text().replace("wrong: 1.0", "wrong: 1.5"))
    after = made(server)
    of_policies = after["applications"][0]["deployments"][0].pop("user_config")
    assert of_policies != before["applications"][0]["deployments"][0].pop("user_config")
    assert after == before


def test_a_file_beside_a_policy_counts_too(server: Path) -> None:
    before = revision_of_policies(read_settings(server))
    beside = server.with_name("balanced.calibrator.json")
    beside.write_text(beside.read_text() + " ")
    assert revision_of_policies(read_settings(server)) != before


def test_other_settings_change_the_arguments(server: Path) -> None:
    before = made(server)["applications"][0]["args"]
    server.write_text("policies: [mine.yaml]\naudit: {share: 0.5}\nidempotency: {enabled: false}\n")
    after = made(server)["applications"][0]["args"]
    assert before.pop("revision") != after.pop("revision")
    assert before == after == {"config": str(server.resolve()), "several": True}


def test_the_file_may_lie_elsewhere_on_the_nodes(server: Path) -> None:
    assert made(server, at="/etc/gate/server.yaml")["applications"][0]["args"]["config"] == "/etc/gate/server.yaml"
