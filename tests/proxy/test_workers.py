"""Several workers on one port: a killed one is replaced, SIGHUP reaches all, SIGTERM finishes what was started."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gate.proxy.workers import _Life

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals to a child process are a POSIX matter")
PROGRAM = """
import sys
from functools import partial
from pathlib import Path

from gate.errors import GateError
from gate.proxy.settings import ServerSettings
from gate.proxy.workers import run
from tests.proxy.tiny_app import make_app

folder, workers = sys.argv[1], int(sys.argv[2])
def restarted():
    with Path(folder, "restarts").open("a") as file:
        file.write("x")
try:
    run(partial(make_app, folder), ServerSettings(port=0, workers=workers), on_restart=restarted)
except GateError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


@contextmanager
def started(folder: Path, workers: int, **env: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(folder), str(workers)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()


@contextmanager
def serving(folder: Path, workers: int, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The supervisor and the address."""
    with started(folder, workers, **env) as process:
        assert process.stderr is not None
        said = next((found for line in process.stderr if (found := re.search(r"http://[\d.]+:\d+", line))), None)
        assert said, "the server ended without saying where it listens"
        rest = threading.Thread(target=process.stderr.read, daemon=True)
        rest.start()
        everyone(said[0], workers)
        yield process, said[0]
        process.kill()
        rest.join(10)


def until(done: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


def ask(url: str, seconds: float = 0.0, note: str = "") -> dict[str, int] | None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)  # any worker may take it
    try:
        connection.request("GET", f"/?seconds={seconds}&note={note}")
        return dict(json.loads(connection.getresponse().read()))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def pids(url: str) -> dict[int, int]:
    """The processes that answer, and how often each heard SIGHUP. Slow questions side by side reach all of them."""
    answers: list[dict[str, int] | None] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(url, seconds=0.03))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {said["pid"]: said["hangups"] for said in answers if said}


def everyone(url: str, count: int) -> dict[int, int]:
    """`pids`, once so many answer: chance may leave one out."""
    found: dict[int, int] = {}
    until(lambda: found.clear() or found.update(pids(url)) or len(found) == count)
    return found


def test_a_killed_worker_is_replaced_under_load_and_hangups_reach_all(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as (supervisor, url):
        first = everyone(url, 2)
        assert supervisor.pid not in first
        stop, answers = threading.Event(), []

        def load() -> None:
            while not stop.is_set():
                answers.append((said := ask(url)) and said["pid"])

        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: len(answers) > 50)
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(set(pids(url)) - {victim}) == 2)
        killed = len(answers)
        until(lambda: len(answers) > killed + 50)
        stop.set()
        for thread in threads:
            thread.join()
        counted = Counter(answers)
        assert counted[None] <= 2, "at most what the killed one had accepted is lost: one of each client"
        assert counted[max(first)] > 0
        assert (tmp_path / "restarts").read_text() == "x"
        assert set(pids(url).values()) == {0}
        supervisor.send_signal(signal.SIGHUP)
        until(lambda: set(everyone(url, 2).values()) == {1})
        assert max(first) in everyone(url, 2), "nobody was replaced"
        supervisor.terminate()
        assert supervisor.wait(20) == 0
        assert len(list(tmp_path.glob("closed-*"))) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_told_to_stop_it_finishes_what_was_started(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, workers) as (supervisor, url):
        answers: list[dict[str, int] | None] = []
        running = everyone(url, workers)
        asking = [
            threading.Thread(target=lambda note=note: answers.append(ask(url, 0.5, str(note)))) for note in range(4)
        ]
        for thread in asking:
            thread.start()
        until(lambda: len(list(tmp_path.glob("asked-*"))) == 4)
        supervisor.terminate()
        for thread in asking:
            thread.join()
        assert supervisor.wait(20) == 0
        assert None not in answers
        assert {said["pid"] for said in answers if said} <= set(running)
        assert {int(path.name.rpartition("-")[2]) for path in tmp_path.glob("closed-*")} == set(running)
        assert ask(url) is None


def test_workers_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as (supervisor, url):
        running = everyone(url, 2)
        supervisor.kill()
        until(lambda: len(list(tmp_path.glob("closed-*"))) == len(running))
        until(lambda: ask(url) is None)


def test_where_no_worker_can_start_the_server_ends_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with started(tmp_path, 2) as process:
        assert process.wait(30) == 2
        assert process.stderr is not None
        said = process.stderr.read()
    assert "mine.yaml:3: no such policy" in said
    assert "no worker could start" in said
    assert "Traceback" not in said


def test_what_broke_later_leaves_those_that_serve(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as (_, url):
        first = everyone(url, 2)
        (tmp_path / "broken").touch()
        os.kill(min(first), signal.SIGKILL)
        until(lambda: (tmp_path / "restarts").exists() and len((tmp_path / "restarts").read_text()) >= 2)
        assert set(pids(url)) == {max(first)}
        (tmp_path / "broken").unlink()
        until(lambda: len(pids(url)) == 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_systemd_is_told(tmp_path: Path, workers: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        with serving(tmp_path, workers, NOTIFY_SOCKET=str(tmp_path / "notify")) as (supervisor, _):
            assert listening.recv(100) == b"READY=1"
            supervisor.terminate()
            supervisor.wait(20)
        assert listening.recv(100) == b"STOPPING=1"
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.recv(100)


def test_the_next_worker_comes_later_and_later() -> None:
    life = _Life(began=0.0)
    assert [life.died(1.0) for _ in range(9)] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert life.died(100.0) == 0.0, "it had worked"
    life.began = 100.0
    assert life.died(101.0) == 0.5
