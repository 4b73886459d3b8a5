"""``gate deploy`` without a cluster: what it prints, and what it refuses. With one: `tests.integrations`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from tests.commands import gate


@pytest.fixture
def server(tmp_path: Path) -> Path:
    path = tmp_path / "server.yaml"
    path.write_text("policies: [balanced]\nworkers: 2\nstate: state\n")
    return path


def test_the_configuration_is_printed_for_serve_deploy(server: Path) -> None:
    server.write_text("policies: [balanced]\nport: 8801\nidempotency: {enabled: false}\n")
    ran = gate("deploy", server, "--min", 2, "--max", 8, "--target-queue", 12, "--at", "/etc/gate/s.yaml", "--print")
    assert ran.code == 0, ran.err
    said = yaml.safe_load(ran.out)
    assert said["http_options"] == {"host": "127.0.0.1", "port": 8801}
    (application,) = said["applications"]
    assert application["import_path"] == "gate.deploy.ray:app"
    assert application["args"]["config"] == "/etc/gate/s.yaml"
    wanted = {"min_replicas": 2, "max_replicas": 8, "target_ongoing_requests": 12.0}
    assert application["deployments"][0]["autoscaling_config"] == wanted


@pytest.mark.parametrize("given", [("--replicas", 2), ("--max", 2), ("--min", 3)])
def test_several_with_limits_of_one_machine_are_refused(server: Path, given: tuple[object, ...]) -> None:
    ran = gate("deploy", server, *given, "--print")
    assert ran.code == 2
    assert "shared: {url_env: GATE_SHARED_URL}" in ran.complaint


def test_several_that_would_do_a_repeat_anew_are_refused(server: Path) -> None:
    server.write_text("policies: [balanced]\n")
    ran = gate("deploy", server, "--replicas", 2, "--print")
    assert ran.code == 2
    assert "idempotency" in ran.complaint
    assert gate("deploy", server, "--replicas", 1, "--print").code == 0


def test_one_number_or_two(server: Path) -> None:
    ran = gate("deploy", server, "--replicas", 2, "--max", 4, "--print")
    assert ran.code == 2
    assert "one or other" in ran.complaint
    assert gate("deploy", server, "--min", 3, "--max", 2, "--print").code == 2


def test_open_to_the_world_is_refused(server: Path) -> None:
    server.write_text("policies: [balanced]\nhost: 0.0.0.0\n")
    ran = gate("deploy", server, "--print")
    assert ran.code == 2
    assert "loopback only" in ran.complaint


def test_without_ray_it_says_what_to_install(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "gate.deploy.ray", raising=False)
    ran = gate("deploy", server)
    assert ran.code == 2
    assert ran.complaint.endswith("pip install 'gate-llm[ray]'")
