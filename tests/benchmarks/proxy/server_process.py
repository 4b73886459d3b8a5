"""A server under test: started on one core, asked whether it works, watched by its numbers, ended by its id."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.proxy.load import ROOT, Asked, pinned

_START = 120.0
"""Seconds a server may take until it answers."""
_STOP = 30.0


class CannotStart(Exception):
    """A server did not come up or answered something else; the message says what."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class ServerProcess:
    """One process in a session of its own; what it says goes to a file beside the others'."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], core: int, log: Path) -> None:
        self._log = log
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                [*pinned(core), *command],
                cwd=ROOT,
                env={**_clean(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_it_answers(self, asked: Asked, expected: str) -> None:
        """Until the request brings status 200 and a body that holds a text. Raises `CannotStart`."""
        until, said = time.monotonic() + _START, "nothing"
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise CannotStart(f"ended with {self._process.returncode}: {self._last_words()}")
            try:
                status, body = ask(asked)
            except OSError as error:
                said = str(error)
            else:
                if status == 200 and expected in body:
                    return
                said = f"{status} {' '.join(body.split())[:200]}"
                if status != 503:  # it may say that it is not ready yet
                    raise CannotStart(f"answered {said}")
            time.sleep(0.1)
        raise CannotStart(f"did not answer within {_START:.0f} s: {said}")

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " / ".join(line.strip() for line in lines[-3:])[:300]

    @property
    def cpu_seconds(self) -> float:
        """Of user and system, so far."""
        return cpu_seconds(Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8"))

    @property
    def resident(self) -> float:
        """Megabytes (10^6 bytes) in memory."""
        return resident(Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8"))

    def freeze(self) -> None:
        """Let it do nothing at all while others are measured."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)
        time.sleep(0.2)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, in good order where it takes no longer than it may."""
        self.signal(signal.SIGCONT)
        self.signal(how)
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def signal(self, which: signal.Signals) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, which)


def ask(asked: Asked) -> tuple[int, str]:
    """Status and body of one answer. Raises OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=30)
    headers = {"content-type": "application/json", "authorization": f"Bearer {asked.key}"}
    try:
        connection.request("POST", asked.path, asked.body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP: {error}") from error
    finally:
        connection.close()


def cpu_seconds(stat: str) -> float:
    """From ``/proc/<pid>/stat``."""
    fields = stat.rpartition(")")[2].split()  # a name may hold spaces and brackets
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(status: str) -> float:
    """Megabytes, from ``/proc/<pid>/status``."""
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def _clean() -> dict[str, str]:
    """This process's environment without keys and proxies of anyone's."""
    return {
        name: value for name, value in os.environ.items() if not name.lower().endswith(("_key", "_proxy", "_token"))
    }
