"""What is in examples/deploy is what it says: it loads, names what there is, and the tools it is for accept it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from gate.deploy.replicas import Replicas, serve_config
from gate.proxy.metrics import Metrics
from gate.proxy.settings import read_settings
from gate.proxy.workers import _CLOSING, GRACE
from tests.proxy.entries import asked, entry_of
from tests.proxy.live_server import live

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "examples" / "deploy"
YAML = sorted(path.name for path in DEPLOY.iterdir() if path.suffix in {".yaml", ".yml"})


def held(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", YAML)
def test_yaml_is_yaml(name: str) -> None:
    assert all(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def test_the_servers_files_load() -> None:
    served = read_settings(DEPLOY / "server.yaml")
    assert (served.host, str(served.state)) == ("127.0.0.1", "/var/lib/gate")
    unit = (DEPLOY / "gate.service").read_text()
    name = Path(str(served.keys)).name
    assert str(served.keys) == f"/run/credentials/gate.service/{name}"
    assert f"LoadCredential={name}:" in unit
    inside = read_settings(DEPLOY / "server.container.yaml")
    assert inside.host == "0.0.0.0"
    assert inside.keys, "beyond loopback only with keys"


# --- containers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.ray"])
def test_the_images_are_built_from_what_is_there_and_only_that(name: str) -> None:
    lines = (DEPLOY / name).read_text().splitlines()
    copied = [
        word
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
        if not word.startswith("--")
    ]
    assert {"gate", "prompts", "policies", "pyproject.toml"} <= set(copied)
    assert all((ROOT / word).exists() for word in copied)
    let = (DEPLOY / f"{name}.dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in let if line.startswith("!")} == set(copied)
    assert "*" in let
    if name == "Dockerfile":
        assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]


def test_the_image_asks_whether_it_is_ready_without_curl() -> None:
    """The very command of the Dockerfile, against a server that is ready and one that is not."""
    found = re.search(r'"(import urllib[^"]+)"', (DEPLOY / "Dockerfile").read_text())
    assert found

    def asks(status: int) -> int:
        app = Starlette(routes=[Route("/readyz", lambda request: PlainTextResponse("", status))])
        with live(app) as url:
            program = found[1].replace("http://127.0.0.1:8800", url)
            return subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode

    assert (asks(200), asks(503)) == (0, 1)


def test_the_services_fit_together_and_are_open_to_this_machine_alone() -> None:
    composed = held("compose.yaml")
    services = composed["services"]
    gate = services["gate"]
    assert (DEPLOY / gate["build"]["context"] / gate["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", ()))
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    yours = {"./keys.yaml"}
    files = {name for name in mounted if name.startswith("./")} - yours
    assert all((DEPLOY / name).is_file() for name in files)
    assert {name for name in mounted if not name.startswith("./")} == set(composed["volumes"])
    said = (DEPLOY / "compose.yaml").read_text()
    assert not re.search(r"PASSWORD: (?!\$\{)|API_KEY: (?!\$\{)", said), "secrets come from outside"
    settings = read_settings(DEPLOY / "server.container.yaml")
    assert settings.log.url_env in gate["environment"]
    assert gate["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    assert f"{GRACE + _CLOSING}s" < gate["stop_grace_period"]


# --- Kubernetes ---------------------------------------------------------------------------------------------------


def manifests() -> dict[str, Any]:
    """By kind and name."""
    parts = yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text(encoding="utf-8"))
    return {f"{part['kind']} {part['metadata']['name']}": part for part in parts}


def pods() -> dict[str, Any]:
    cluster = manifests()["RayService gate"]["spec"]["rayClusterConfig"]
    (workers,) = cluster["workerGroupSpecs"]
    return {"head": cluster["headGroupSpec"]["template"], "worker": workers["template"]}


def test_the_cluster_runs_what_gate_deploy_prints(tmp_path: Path) -> None:
    held = manifests()
    server = tmp_path / "server.yaml"
    server.write_text(held["ConfigMap gate-server"]["data"]["server.yaml"])
    settings = read_settings(server)
    service = held["RayService gate"]["spec"]
    (group,) = service["rayClusterConfig"]["workerGroupSpecs"]
    config = yaml.safe_load(service["serveConfigV2"])
    (application,) = config["applications"]
    scaled = application["deployments"][0]["autoscaling_config"]
    wanted = Replicas(scaled["min_replicas"], scaled["max_replicas"], scaled["target_ongoing_requests"])
    assert config == dict(serve_config(server, settings, wanted, at=application["args"]["config"]))
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert None not in (settings.keys, settings.shared, settings.log.url_env), "beyond loopback with keys, for several"


@pytest.mark.parametrize("part", ["head", "worker"])
def test_the_pods_hold_no_secret_and_what_they_name_is_there(part: str) -> None:
    held, pod = manifests(), pods()[part]
    (container,) = pod["spec"]["containers"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert f"ConfigMap {volumes['server']['configMap']['name']}" in held
    assert "env" not in container, "secrets come from outside"
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > GRACE + _CLOSING
    settings = yaml.safe_load(held["ConfigMap gate-server"]["data"]["server.yaml"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["serve"] == settings["port"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(Path(settings["keys"]).parent) in mounted


def test_nobody_reaches_the_ports_of_ray_but_the_cluster_and_its_operator() -> None:
    held = manifests()
    policy = held["NetworkPolicy gate"]["spec"]
    chosen = policy["podSelector"]["matchLabels"].items()
    assert all(chosen <= pod["metadata"]["labels"].items() for pod in pods().values())
    own, operator, clients = policy["ingress"]
    assert own == {"from": [{"podSelector": policy["podSelector"]}]}
    assert operator["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "kuberay-operator"
    assert clients["ports"] == [{"port": 8800}]
    assert held["RayService gate"]["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}
    for name, part in (("gate-workers", "worker"), ("gate-head", "head")):
        selected = held[f"PodDisruptionBudget {name}"]["spec"]["selector"]["matchLabels"]
        assert selected.items() <= pods()[part]["metadata"]["labels"].items()


def test_the_image_for_ray_is_built_from_what_is_there() -> None:
    lines = (DEPLOY / "Dockerfile.ray").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[2:-1]]
    assert {"gate", "prompts", "policies", "pyproject.toml"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    version = manifests()["RayService gate"]["spec"]["rayClusterConfig"]["rayVersion"]
    assert any(line.startswith(f"FROM rayproject/ray:{version}-") for line in lines)


# --- Prometheus --------------------------------------------------------------------------------------------------


def exposed() -> set[str]:
    metrics = Metrics()
    metrics.observe(entry_of(asked()))
    metrics.certificate("mine", void=False)
    for line in ("gate_monitor_e_value", "gate_monitor_alarm"):
        assert f"# TYPE {line} gauge" in metrics.render().decode()
    shown = metrics.render().decode()
    samples = {re.split(r"[{ ]", line)[0] for line in shown.splitlines() if not line.startswith("#")}
    return samples | set(re.findall(r"^# TYPE (\S+) gauge", shown, re.MULTILINE))


def test_every_alert_asks_for_a_metric_that_there_is() -> None:
    rules = [rule for group in held("alerts.yml")["groups"] for rule in group["rules"]]
    names = {name for rule in rules for name in re.findall(r"\bgate_\w+", rule["expr"])}
    assert names >= {"gate_monitor_alarm", "gate_certificate_void", "gate_log_dropped_total", "gate_requests_total"}
    assert names <= exposed()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] in {"page", "warn"} for rule in rules)
    for expr in (rule["expr"] for rule in rules):
        assert all(expr.count(a) == expr.count(b) for a, b in ("()", "[]", "{}"))


def test_the_scrape_finds_server_rules_and_key() -> None:
    config, composed = held("prometheus.yml"), held("compose.yaml")
    (scrape,) = config["scrape_configs"]
    port = read_settings(DEPLOY / "server.container.yaml").port
    assert scrape["static_configs"] == [{"targets": [f"gate:{port}"]}]
    (secret,) = composed["services"]["prometheus"]["secrets"]
    assert secret in composed["secrets"]
    assert scrape["authorization"] == {"type": "Bearer", "credentials_file": f"/run/secrets/{secret}"}
    assert all((DEPLOY / name).is_file() for name in config["rule_files"])


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", DEPLOY / "alerts.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# --- systemd -----------------------------------------------------------------------------------------------------


def test_systemd_gives_a_stopping_server_the_time_it_takes() -> None:
    unit = dict(line.split("=", 1) for line in (DEPLOY / "gate.service").read_text().splitlines() if "=" in line)
    assert int(unit["TimeoutStopSec"]) > GRACE + _CLOSING
    assert (unit["Type"], unit["ExecReload"]) == ("notify", "/bin/kill -HUP $MAINPID")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "gate.service"
    unit.write_text((DEPLOY / "gate.service").read_text().replace("/opt/gate/bin/gate", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "gate.service" in line]
    assert ours == []
    rated = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit]
    done = subprocess.run(rated, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# --- nginx -------------------------------------------------------------------------------------------------------


@contextmanager
def fronted(folder: Path, behind: str) -> Iterator[str]:
    """nginx as configured, without TLS, before another address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = (DEPLOY / "nginx.conf").read_text()
    said = re.sub(r"\n\s*(ssl_|listen \[).*", "", said).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    said = said.replace("127.0.0.1:8800", behind.removeprefix("http://"), 1)
    (folder / "conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; "
        f"fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};\n{said}\n}}"
    )
    command = ["nginx", "-p", folder, "-e", folder / "error", "-c", folder / "conf"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            until = time.monotonic() + 10
            while True:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < until
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_passes_events_on_as_they_come_and_bounds_bodies(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    read: list[float] = []
    hosts: list[str] = []

    async def events() -> AsyncIterator[bytes]:
        yield b"data: one\n\n"
        import asyncio

        for _ in range(500):  # until the first was read, or never
            if read:
                break
            await asyncio.sleep(0.01)
        yield b"data: read\n\n" if read else b"data: held back\n\n"

    async def stream(request: Request) -> StreamingResponse:
        hosts.append(request.headers["host"])
        return StreamingResponse(events(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/v1/x", stream, methods=["GET", "POST"]), Route("/metrics", stream)])
    with live(app) as behind, fronted(tmp_path, behind) as url:
        with httpx.stream("GET", f"{url}/v1/x") as reply:
            lines = [line for line in _noting(reply.iter_lines(), read) if line]
        assert lines == ["data: one", "data: read"]
        assert hosts == [url.removeprefix("http://")], "with its port: forms are taken from there alone"
        assert httpx.post(f"{url}/v1/x", content=b"x" * (17 * 2**20)).status_code == 413
        assert httpx.get(f"{url}/metrics").status_code == 404


def _noting(lines: Iterator[str], read: list[float]) -> Iterator[str]:
    for line in lines:
        read.append(time.monotonic())
        yield line
