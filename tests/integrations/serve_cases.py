"""Replicas in a real Ray cluster against ``gate serve``: the same answers, one set of limits, and nothing lost when one
dies or the policy changes. Run in a network of its own by `test_ray_serve`."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from ray import serve
from ray.exceptions import GetTimeoutError, RaySystemError, RpcError
from ray.serve.schema import ServeDeploySchema

from gate.deploy.ray import Arguments, _reports, _texts, app, deploy
from gate.deploy.replicas import NAME, Replicas, serve_config
from gate.errors import ConfigError
from gate.pocket.world import facts_of, unit_hash
from gate.policy import find
from gate.proxy.settings import read_settings
from tests.commands import gate
from tests.integrations.own_network import ray_cluster
from tests.postgres import postgres
from tests.proxy.gate_process import serving
from tests.redis_server import redis_server

QUESTIONS = [fact.question for fact in sorted(facts_of("test"), key=lambda fact: unit_hash(fact.key, "ray"))[:8]]
TOLD = ("x-gate-policy", "x-gate-certificate", "x-gate-action", "x-gate-reason", "x-gate-confidence")
LIMIT = 12


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with ray_cluster():
        yield
        serve.shutdown()


@pytest.fixture(scope="module")
def port() -> int:
    """Serve's proxies keep the port they began with."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def policy(folder: Path) -> Path:
    """``balanced``, in a file that a test may change."""
    path = folder / "balanced.yaml"
    path.write_bytes(find("balanced").read_bytes())
    beside = find("balanced").with_suffix(".calibrator.json")
    (folder / beside.name).write_bytes(beside.read_bytes())
    return path


@contextmanager
def client(port: int, **headers: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=30) as asking:
        yield asking


def ask(asking: httpx.Client, question: str, **more: Any) -> httpx.Response:
    messages = [{"role": "user", "content": question}]
    return asking.post("/v1/chat/completions", json={"model": "gate", "messages": messages, **more})


def essence(reply: httpx.Response) -> tuple[Any, ...]:
    body = reply.json()
    assert reply.status_code == 200, body
    return (body["choices"], body["usage"], *(reply.headers.get(name) for name in TOLD))


def settings_in(folder: Path, port: int, **said: Any) -> Path:
    """Several without a store that they share have no idempotency keys."""
    path, apart = folder / "server.yaml", {} if "shared" in said else {"idempotency": {"enabled": False}}
    path.write_text(yaml.safe_dump({"port": port, **apart, **said}))
    return path


def run(path: Path, replicas: Replicas) -> None:
    config = serve_config(path, read_settings(path), replicas)
    ServeDeploySchema.model_validate(dict(config))
    deploy(config, path.read_bytes(), seconds=120)


def replica_processes() -> list[int]:
    """Those of Serve's deployment: Ray names its workers by what they run. Of this network alone: nobody else's."""
    ours, found = os.readlink("/proc/self/ns/net"), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command, network = (entry / "cmdline").read_bytes(), os.readlink(entry / "ns" / "net")
            except OSError:
                continue
            if network == ours and command.startswith(f"ray::ServeReplica:{NAME}:{NAME}".encode()):
                found.append(int(entry.name))
    return found


@contextmanager
def asking_all_the_while(port: int, seen: list[tuple[int, str]]) -> Iterator[None]:
    """Status and policy of each reply, from two clients that hardly pause."""
    over = threading.Event()

    def keep_asking() -> None:
        with client(port) as asking:
            while not over.is_set():
                try:
                    reply = ask(asking, QUESTIONS[len(seen) % len(QUESTIONS)])
                    seen.append((reply.status_code, reply.headers.get("x-gate-policy", "")))
                except httpx.HTTPError as error:
                    seen.append((0, type(error).__name__))
                over.wait(0.02)

    threads = [threading.Thread(target=keep_asking) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(30)


def unloadable_changes_nothing(folder: Path, port: int) -> None:
    """What the command has and the nodes have not: the replicas there are answer on, each of them."""
    before, seen = replica_processes(), list[tuple[int, str]]()
    path = settings_in(folder, port, policies=["balanced.yaml"], log={"url_env": "NOT_THERE_LOG"})
    with asking_all_the_while(port, seen), pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOT_THERE_LOG", "postgresql://gate@127.0.0.1/gate")
        ran = gate("deploy", path, "--replicas", len(before), "--timeout", "120")
    assert ran.code == 2, ran.err
    assert "nothing was changed: the environment variable 'NOT_THERE_LOG' is not set" in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert Counter(status for status, _ in seen) == {200: len(seen)}
    assert replica_processes() == before
    assert serve.status().applications[NAME].status == "RUNNING"


def test_one_and_two_replicas_answer_as_gate_serve_does(folder: Path, policy: Path, port: int, tmp_path: Path) -> None:
    with serving(tmp_path, [policy]) as single, httpx.Client(base_url=single.url, trust_env=False) as asking:
        expected = [essence(ask(asking, question)) for question in QUESTIONS]
    path = settings_in(folder, port, policies=["balanced.yaml"])
    ran = gate("deploy", path, "--timeout", "120")
    assert ran.code == 0, ran.err
    assert f"deployed: 1 replica at 127.0.0.1:{port}" in ran.out
    with client(port) as asking:
        assert [essence(ask(asking, question)) for question in QUESTIONS] == expected
    before = replica_processes()
    unloadable_changes_nothing(folder, port)
    path = settings_in(folder, port, policies=["balanced.yaml"])
    assert gate("deploy", path, "--replicas", 2, "--timeout", "120").code == 0
    assert len(replica_processes()) == 2
    with client(port) as asking:
        assert [essence(ask(asking, question)) for question in QUESTIONS] == expected
    assert len(before) == 1
    unloadable_changes_nothing(folder, port)


def test_an_application_that_could_not_run_is_not_built(folder: Path, port: int) -> None:
    """As ``serve deploy`` and KubeRay have it built: before Serve touches a replica."""
    path = settings_in(folder, port, policies=["balanced.yaml"], log={"url_env": "NOT_THERE_LOG"})
    with pytest.raises(ConfigError, match="'NOT_THERE_LOG' is not set"):
        app({"config": str(path)})


def test_another_port_is_refused(folder: Path, port: int) -> None:
    before = replica_processes()
    with pytest.raises(ConfigError, match=f"listens at 127.0.0.1:{port}, and Serve cannot move"):
        run(settings_in(folder, port + 1 if port < 65535 else port - 1, policies=["balanced.yaml"]), Replicas(2, 2))
    assert replica_processes() == before


def test_policies_that_are_not_on_the_nodes_are_told(folder: Path, policy: Path, port: int) -> None:
    path, before = settings_in(folder, port, policies=["balanced.yaml"]), replica_processes()
    config = copy.deepcopy(dict(serve_config(path, read_settings(path), Replicas(2, 2))))
    config["applications"][0]["deployments"][0]["user_config"]["policies"] = "another"
    with pytest.raises(ConfigError, match="policy files are not those that were deployed"):
        deploy(config, path.read_bytes(), seconds=120)
    assert replica_processes() == before
    run(path, Replicas(2, 2))
    assert _reports.store.listed() == [], "nothing gathers there"
    assert len(_texts.listed()) == 1


def test_what_fails_in_a_replica_alone_takes_none_away_and_what_ran_is_put_back(folder: Path, port: int) -> None:
    """Said to be one, and told to be two: only the replica sees that."""
    before, seen = replica_processes(), list[tuple[int, str]]()
    path = settings_in(folder, port, policies=["balanced.yaml"], idempotency={"enabled": True})
    config = copy.deepcopy(dict(serve_config(path, read_settings(path), Replicas())))
    config["applications"][0]["deployments"][0]["num_replicas"] = 2
    with asking_all_the_while(port, seen), pytest.raises(ConfigError) as caught:
        deploy(config, path.read_bytes(), seconds=120)
    assert "each of several replicas would know the idempotency keys of its own requests alone" in str(caught.value)
    assert "the configuration before was put back, and its replicas serve" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert Counter(status for status, _ in seen) == {200: len(seen)}
    assert set(before) == set(replica_processes())
    assert serve.status().applications[NAME].status == "RUNNING"


def test_a_stream_comes_through_in_parts(port: int) -> None:
    with client(port) as asking:
        whole = ask(asking, QUESTIONS[0]).json()["choices"][0]["message"]["content"] or ""
        asked = {"model": "gate", "messages": [{"role": "user", "content": QUESTIONS[0]}], "stream": True}
        with asking.stream("POST", "/v1/chat/completions", json=asked) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    deltas = [choice["delta"].get("content") or "" for line in lines[:-1] for choice in json.loads(line)["choices"]]
    assert "".join(deltas) == whole


def test_refusals_bear_the_id_of_the_request_once(port: int) -> None:
    with client(port, **{"x-request-id": "mine-1"}) as asking:
        reply = asking.post("/v1/chat/completions", json={"model": "nobody", "messages": []})
    assert reply.status_code in {400, 404}
    assert reply.json()["error"]["message"]
    assert reply.headers["x-request-id"] == "mine-1"


def test_another_policy_is_served_without_a_failed_request(folder: Path, policy: Path, port: int) -> None:
    before, seen = replica_processes(), list[tuple[int, str]]()
    with asking_all_the_while(port, seen):
        while len(seen) < 20:
            time.sleep(0.01)
        old = seen[-1][1]
        policy.write_text(policy.read_text().replace("wrong: 1.0", "wrong: 1.5"))
        run(settings_in(folder, port, policies=["balanced.yaml"]), Replicas(2, 2))
        changed = len(seen)
        while len(seen) < changed + 20:
            time.sleep(0.01)
    assert Counter(status for status, _ in seen) == {200: len(seen)}
    assert {name for _, name in seen[changed + 6 :]}.isdisjoint({old})
    assert set(replica_processes()) == set(before), "policies are read again where they are served"


def test_other_settings_replace_replicas_without_a_failed_request(folder: Path, port: int) -> None:
    before, seen = replica_processes(), list[tuple[int, str]]()
    path = settings_in(folder, port, policies=["balanced.yaml"], audit={"share": 0.5})
    with asking_all_the_while(port, seen):
        run(path, Replicas(2, 2))
    assert Counter(status for status, _ in seen) == {200: len(seen)}
    assert len(seen) > 20
    until = time.monotonic() + 20
    while set(replica_processes()) & set(before) and time.monotonic() < until:
        time.sleep(0.1)
    assert not set(replica_processes()) & set(before)


def test_a_killed_replica_comes_back(port: int) -> None:
    killed = replica_processes()[0]
    os.kill(killed, signal.SIGKILL)
    began = time.monotonic()
    while len(replica_processes()) != 2 or killed in replica_processes():
        assert time.monotonic() < began + 30, "no other replica came"
        time.sleep(0.1)
    seen: list[int] = []
    with client(port) as asking:
        while seen[-20:] != [200] * 20:
            assert time.monotonic() < began + 40, seen
            seen.append(ask(asking, QUESTIONS[0]).status_code)


def test_limits_hold_over_all_replicas_and_every_decision_is_logged(
    folder: Path, policy: Path, port: int, tmp_path: Path
) -> None:
    made = gate("keys", "new", "--file", folder / "keys.yaml", "--name", "a", "--requests", LIMIT)
    key = made.out.strip()
    with redis_server() as redis, postgres() as dsn:
        said = {"policies": ["balanced.yaml"], "keys": "keys.yaml"}
        alone = settings_in(folder, port, **said)
        with pytest.raises(ConfigError, match="shared:"):
            run(alone, Replicas(2, 2))
        path = settings_in(folder, port, **said, shared={"url": redis.url}, log={"url": dsn})
        run(path, Replicas(2, 2))
        with client(port, authorization=f"Bearer {key}") as asking:
            came = Counter(ask(asking, QUESTIONS[at % len(QUESTIONS)]).status_code for at in range(3 * LIMIT))
        assert came == {200: LIMIT, 429: 2 * LIMIT}
        serve.delete(NAME)  # each replica writes its log out before it ends
        with psycopg.connect(dsn) as log:
            row = log.execute("SELECT count(*) FROM gate_decisions").fetchone()
        assert row == (LIMIT,)


@pytest.mark.parametrize("fault", [RpcError("unavailable"), RaySystemError("?"), GetTimeoutError(), OSError()])
def test_a_store_of_the_cluster_that_is_away_ends_no_replica(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def away(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("gate.deploy.ray._internal_kv_get", away)
    _reports.say("a", "m", "")


def test_arguments_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"args\.config"):
        app({})
    with pytest.raises(ConfigError, match=r"args\.replicas"):
        app({"config": "server.yaml", "replicas": 3})
    assert Arguments(config="server.yaml").several is False
    with pytest.raises(ConfigError, match=r"server\.yaml"):
        app({"config": str(tmp_path / "server.yaml")})
