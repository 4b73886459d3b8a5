"""gate serve as a user runs it: what it refuses, what it says, and that it ends in good order."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gate.cli_serving import _settings
from gate.log.opening import open_log
from gate.proxy.settings import AuditSettings, LogSettings, ServerSettings
from tests.commands import gate
from tests.proxy.reading import ask, get, until
from tests.proxy.test_serving import POLICY, log_in
from tests.upstreams.faulty_server import Behaviour, FaultyServer, chat

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals to a child process are a POSIX matter")


# --- what is refused, before anything is served ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "without keys the server listens on loopback only, not on '0.0.0.0'"),
        (["--workers", "2"], "set state: some/folder"),
        (["--policy", "balancd"], "did you mean 'balanced'"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--states"], "--states goes with --trace and --text"),
        (["--text"], "--text goes with --trace"),
        (["--keep", "text"], "give --log too"),
        (["--keep", "everything", "--log", "sqlite:///x.db"], "--keep: Input should be 'scalars', 'hashed' or 'text'"),
        (["--keys", "nowhere.yaml", "--log", ""], "cannot read the key file"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_served_is_refused_in_one_line(arguments: list[str], said: str) -> None:
    ran = gate("serve", "--port", 0, *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.err.rstrip("\n").count("\n") == 0
    assert ran.err.startswith("gate: ")


def test_a_broken_config_names_file_line_and_what_would_do(tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text("port: 0\nlimitz: {}\n")
    ran = gate("serve", "--config", tmp_path / "server.yaml")
    assert ran.code == 2
    assert ran.complaint.endswith("server.yaml:2: unknown key 'limitz'; did you mean 'limits'? known: " + KNOWN)


KNOWN = "audit, dashboard, host, idempotency, keys, limits, log, policies, port, reload, shared, state, trust_forwarded"
KNOWN += ", webhook, workers"


# --- a process ---------------------------------------------------------------------------------------------------


@dataclass
class Process:
    process: subprocess.Popen[str]
    url: str
    out: list[str]
    """What it prints."""
    err: list[str]
    """What it logs."""

    def ends(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(20)


@contextmanager
def serving(folder: Path, behaviour: Behaviour, *arguments: str, **settings: Any) -> Iterator[tuple[Process, Any]]:
    """The server of one policy, and its upstream; both are gone afterwards."""
    with FaultyServer(behaviour) as upstream:
        (folder / "small.yaml").write_text(POLICY.replace("BASE", upstream.url))
        config = {"policies": ["small.yaml"], "port": 0, **settings}
        (folder / "server.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-W", "error", "-m", "gate", "serve", "--config", str(folder / "server.yaml")]
        with subprocess.Popen(
            [*command, *arguments],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            made = Process(process, "", [], [])
            readers = [
                threading.Thread(target=_read, args=(stream, lines), daemon=True)
                for stream, lines in ((process.stdout, made.out), (process.stderr, made.err))
            ]
            for reader in readers:
                reader.start()
            try:
                made.url = _address(made)
                yield made, upstream
            finally:
                process.kill()
                for reader in readers:
                    reader.join(10)


def _read(stream: Any, lines: list[str]) -> None:
    lines.extend(iter(stream.readline, ""))


def _address(made: Process) -> str:
    until = time.monotonic() + 30
    while time.monotonic() < until and made.process.poll() is None:
        if found := re.search(r"http://[\d.]+:\d+", "".join(made.err)):
            return found[0]
        time.sleep(0.01)
    raise AssertionError(f"it does not say where it listens: {''.join(made.err)}")


def _answers(url: str) -> bool:
    try:
        return get(url, "/healthz").status_code == 200
    except httpx.ConnectError:
        return False


def _opens_its_dashboard(server: Process) -> None:
    found = re.search(r"dashboard: /dashboard +key for this run: (\S+)", "".join(server.out))
    assert found, "of a port that is still to be found, only the path"
    with httpx.Client(base_url=server.url, verify=False, trust_env=False) as client:
        assert log_in(client, server.url, found[1]).status_code == 303
        assert client.get("/dashboard").status_code == 200
    assert found[1] not in "".join(server.err)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_it_serves_and_when_told_to_stop_finishes_what_was_started_and_closes(
    tmp_path: Path, how: signal.Signals
) -> None:
    asked, go_on, replies = threading.Event(), threading.Event(), []

    def slow(handler: Any, wanted: dict[str, Any]) -> None:
        asked.set()
        assert go_on.wait(10)
        chat("Nigeria")(handler, wanted)

    log = f"sqlite:///{tmp_path / 'log.db'}"
    trace = ["--trace", str(tmp_path / "trace.jsonl"), "--access-log"]
    with serving(tmp_path, slow, "--log", log, "--observe", *trace) as (server, _):
        health = get(server.url, "/healthz")
        assert (health.status_code, health.json()) == (200, {"status": "ok"})
        assert "server" not in health.headers
        _opens_its_dashboard(server)
        asking = threading.Thread(target=lambda: replies.append(ask(server.url)))
        asking.start()
        assert asked.wait(10)
        server.process.send_signal(how)
        go_on.set()
        asking.join(10)
        assert server.process.wait(20) == 0
        said = "".join(server.err)
        printed = "".join(server.out)
    (reply,) = replies
    assert reply.status_code == 200
    assert reply.headers["x-gate-mode"] == "observe"
    decision, written = reply.headers["x-gate-decision-id"], open_log(log)
    kept = written.reader.find(decision)
    written.close()
    assert kept is not None
    assert kept.mode == "observe"
    assert decision in (tmp_path / "trace.jsonl").read_text()
    assert decision in said, "a line for the request"
    assert "small@" in printed
    assert "Lagos" not in said + printed + (tmp_path / "trace.jsonl").read_text(), "nothing of what was asked"
    assert "Traceback" not in said


def test_several_workers_share_a_folder_and_show_the_same(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving(tmp_path, chat("Nigeria"), workers=2, state="state") as (server, _):
        until(lambda: _answers(server.url))
        for _ in range(8):
            assert ask(server.url).status_code == 200
        shown = get(server.url, "/metrics").text
        assert server.ends() == 0
        said = "".join(server.err)
    counts = [float(line.split()[-1]) for line in shown.splitlines() if line.startswith("gate_requests_total")]
    assert 1 <= sum(counts) <= 8, "what the other has counted is shown some seconds later"
    assert {path.name for path in state.iterdir()} >= {"metrics", "dashboard.secret"}
    assert "Traceback" not in said


def test_what_a_worker_cannot_start_with_is_the_commands_error(tmp_path: Path) -> None:
    """Known only once the log is opened, which is after the policies were read aloud."""
    (tmp_path / "no.db").mkdir()
    command = [sys.executable, "-m", "gate", "serve", "--port", "0", "--log", f"sqlite:///{tmp_path / 'no.db'}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("gate: ")
    assert "no.db" in last
    assert "Traceback" not in ran.stderr


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "gate", "serve", "--port", port]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert "address already in use" in ran.stderr
    assert ran.stderr.endswith("gate: the server could not start; the log above says why\n")
    assert f"http://127.0.0.1:{port}/dashboard" in ran.stdout


# --- options and the file ------------------------------------------------------------


def test_options_go_before_the_file_and_what_neither_says_stays(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("port: 9000\nlog: {url_env: LOG, keep: hashed, queue: 7}\naudit: {share: 0.5, counts: all}\n")
    nothing = {"log": {"url": None, "url_env": None, "keep": None}, "audit": {"share": None, "full_evidence": None}}
    assert _settings(None, {"port": None}, nothing) == ServerSettings()
    held = _settings(file, {"port": None, "host": "127.0.0.2"}, nothing)
    assert (held.port, held.host) == (9000, "127.0.0.2")
    assert held.log == LogSettings(url_env="LOG", keep="hashed", queue=7)
    given = {"log": {"url": "sqlite:///a.db", "url_env": "", "keep": "text"}, "audit": {"full_evidence": 0.25}}
    held = _settings(file, {"port": 0}, given)
    assert held.port == 0
    assert held.log == LogSettings(url="sqlite:///a.db", url_env="", keep="text", queue=7)
    assert held.audit == AuditSettings(share=0.5, counts="all", full_evidence=0.25)
    assert held.log.holds_text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--full-evidence", "1"], "--full-evidence is bought for nothing where no text is kept"),
        (["--full-evidence", "1", "--log", "sqlite:///a.db"], "--full-evidence is bought for nothing"),
        (["--full-evidence", "1", "--keep", "text"], "--keep says what a log keeps, and none is kept"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_served(options: list[str], said: str) -> None:
    ran = gate("serve", *options)
    assert (ran.code, said in ran.err) == (2, True), ran.err
