"""Load on a server: wrk as fast as it answers, or requests that arrive at a rate of their own.

wrk keeps a number of connections busy: its rate is the server's, and its latencies are those of a server that is never
left idle. What a server adds when it is not saturated is measured by `tests.benchmarks.proxy.arrivals` instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
GATEWAY_CORE, LOAD_CORE = 0, 1
_LUA = """\
wrk.method = "POST"
wrk.body = [==[{body}]==]
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {key}"
done = function(summary, latency)
  local e = summary.errors
  local form = '\\n{{"requests":%d,"us":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}}\\n'
  local broken = e.connect + e.read + e.write + e.timeout
  local p50, p99 = latency:percentile(50), latency:percentile(99)
  io.write(form:format(summary.requests, summary.duration, p50, p99, e.status, broken))
end
"""


class LoadFailed(Exception):
    """The load generator gave no figures; the message says what it said."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is sent over and over."""

    port: int
    path: str
    body: str
    key: str
    """Sent as a bearer token."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    @property
    def raw(self) -> bytes:
        """As it goes over the wire."""
        body = self.body.encode()
        lines = (
            f"POST {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Content-Type: application/json",
            f"Authorization: Bearer {self.key}",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it. Latencies in milliseconds."""

    requests: int
    """Answered, those with an error status among them."""
    seconds: float
    p50: float
    p99: float
    failed: int
    """Answered with an error status, not answered, or broken off."""

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return max(0, self.requests - self.failed) / self.seconds


def pinned(core: int) -> tuple[str, ...]:
    """What to put before a command to keep it to the first core of this process's, or to the second.

    Nothing where that cannot be done.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ("taskset", "-c", str(cores[core])) if len(cores) > 1 and shutil.which("taskset") else ()


def wrk(asked: Asked, connections: int, seconds: int) -> Load:
    """Keep ``connections`` busy. Raises `LoadFailed`."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8") as script:
        script.write(_LUA.format(body=asked.body, key=asked.key))
        script.flush()
        options = ("-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", script.name)
        return read_wrk(_output(("wrk", *options, asked.url)))


def read_wrk(output: str) -> Load:
    """The figures in wrk's output, as the script above has it write them. Raises `LoadFailed` when there are none."""
    said = output.strip().splitlines()
    try:
        told = json.loads(said[-1])
        return Load(
            told["requests"],
            told["us"] / 1e6,
            told["p50"] / 1e3,
            told["p99"] / 1e3,
            told["refused"] + told["broken"],
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise LoadFailed(f"wrk gave no figures: {' / '.join(said[-2:])}") from error


def at_rate(asked: Asked, connections: int, rate: float, seconds: float) -> Load:
    """Send ``rate`` a second, however long the answers take, over up to ``connections``. Raises `LoadFailed`."""
    module = "tests.benchmarks.proxy.arrivals"
    how = (str(asked.port), str(connections), str(rate), str(seconds))
    output = _output((sys.executable, "-m", module, *how), asked.raw)
    try:
        told = json.loads(output)
        return Load(told["answered"], told["seconds"], told["p50"], told["p99"], told["failed"])
    except (KeyError, TypeError, ValueError) as error:
        raise LoadFailed(f"no figures of requests that arrive at a rate: {output[-200:]}") from error


def _output(command: Sequence[str], given: bytes = b"") -> str:
    run = subprocess.run([*pinned(LOAD_CORE), *command], input=given, capture_output=True, cwd=ROOT, check=False)
    if run.returncode:
        last = run.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise LoadFailed(f"{command[0]} failed: {' '.join(last) or run.returncode}")
    return run.stdout.decode(errors="replace")
