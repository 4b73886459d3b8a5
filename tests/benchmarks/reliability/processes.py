"""The processes that the faults are done to: gate, its model's server, PostgreSQL. Each is ended by its own id."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks.proxy.load import ROOT
from tests.benchmarks.proxy.server_process import CannotStart
from tests.benchmarks.reliability.upstream import Felt
from tests.postgres import _programs, quietly

_START, _STOP = 60.0, 30.0
"""Seconds that a process may take to answer, and to end in good order."""


class Upstream:
    """`tests.benchmarks.reliability.upstream`, and what is wrong with it."""

    def __init__(self, latency: float = 0.02) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.reliability.upstream", str(latency)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self._line())}/v1"

    def change(self, fault: str = "", share: float = 1.0, shut_after: float | None = None) -> None:
        """Returns once it holds. ``shut_after``: seconds after which whoever asks should leave it alone."""
        if self._told({"fault": fault, "share": share, "shut_after": shut_after}) != "ok":
            raise CannotStart("the model's server does not do what it is told")

    def felt(self) -> Felt:
        """What came of the last fault so far."""
        return Felt(**json.loads(self._told({"tell": True})))

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        _ended(self._process)
        self._process.stdout.close()

    def _told(self, what: Mapping[str, Any]) -> str:
        """What it says to that."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._line().strip()

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], _START)[0]:
            raise CannotStart("the model's server does not answer")
        return self._process.stdout.readline()


class GateProcess:
    """``gate serve`` with its file of settings, in a session of its own, on a port that it keeps over restarts."""

    def __init__(self, config: Path, port: int, environment: Mapping[str, str] | None = None) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-m", "gate", "serve", "--config", str(config)]
        self._said = config.with_suffix(".said")
        self._port = port
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Until it answers; the seconds that took. Raises `CannotStart`."""
        began = time.monotonic()
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() - began > _START:
                last = self.said.strip().splitlines()[-3:]
                raise CannotStart(f"gate did not start: {' / '.join(last)}")
            time.sleep(0.05)
        return time.monotonic() - began

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def metric(self, key: str, name: str, labels: str = "") -> float:
        """The sum of its samples whose labels hold this text; 0 where there are none, or gate does not say."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/metrics", headers={"authorization": f"Bearer {key}"})
            return samples(connection.getresponse().read().decode(), name, labels)
        except (OSError, http.client.HTTPException):
            return 0.0
        finally:
            connection.close()

    @property
    def said(self) -> str:
        return self._said.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """The processes below it that serve: those that hold its port, but itself."""
        found = []
        for child in _below(self.pid):
            with suppress(OSError):
                words = Path(f"/proc/{child}/cmdline").read_bytes()
                if b"spawn_main" in words:
                    found.append(child)
        return found

    def kill(self) -> None:
        """All its processes at once, with no time to write anything. The machine, and what they handed to its system,
        stays."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_STOP)

    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            _ended(self._process)
        self.kill()  # whoever is left of it


class Postgres:
    """What can be done to the server of `tests.postgres`. Once it was stopped and started here it waits for its disk,
    which that of the tests does not."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._folder = Path(parse_qs(urlsplit(dsn).query)["host"][0])
        self._data = self._folder / "data"
        programs = _programs()
        assert programs is not None
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self._control = [*as_user, str(programs / "pg_ctl"), "-D", str(self._data), "-w"]

    def freeze(self) -> None:
        for each in self._processes():
            os.kill(each, signal.SIGSTOP)

    def thaw(self) -> None:
        for each in self._processes():
            os.kill(each, signal.SIGCONT)

    def stop(self) -> None:
        quietly(*self._control, "-m", "immediate", "stop", cwd=self._folder)

    def start(self) -> None:
        settings = f"-c listen_addresses='' -c unix_socket_directories={self._folder}"
        quietly(*self._control, "-o", settings, "-l", str(self._folder / "log"), "start", cwd=self._folder)

    def _processes(self) -> list[int]:
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        return [postmaster, *_below(postmaster)]


def samples(text: str, name: str, labels: str = "") -> float:
    """The sum of one metric in the text that Prometheus reads."""
    found = re.findall(rf"^{re.escape(name)}(\{{.*\}})? (\S+)$", text, re.MULTILINE)
    return sum(float(value) for its_labels, value in found if labels in its_labels)


def resources(pid: int) -> dict[str, float]:
    """Of one process: megabytes (10^6 bytes) in memory, open files, threads."""
    held = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return {
        "MB": int(held) * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
    }


def _below(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    parents: dict[int, list[int]] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                parent = int((each / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(each.name))
    found, ahead = [], [pid]
    while ahead:
        children = parents.get(ahead.pop(), [])
        found += children
        ahead += children
    return found


def _ended(process: subprocess.Popen[Any]) -> None:
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def mounted(folder: Path, megabytes: int) -> str:
    """Mount a small file system there; why that cannot be done, or "". Needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    if not shutil.which("mount") or os.geteuid() != 0:
        return "a full disk needs root, who may mount a small one"
    options = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "gate-full-disk", str(folder)]
    ran = subprocess.run(options, capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else f"a small disk cannot be mounted: {ran.stderr.strip()}"


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
