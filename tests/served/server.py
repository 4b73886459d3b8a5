"""A real vLLM server on a free loopback port, for the time of a with block."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from gate.engine_plugin.serve_line import serve_line

_READY = 240.0
"""Seconds a server may take to start: 30 on an idle machine."""
_END = 15.0
"""Seconds it may take to end by itself."""
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is up."""

    name: str
    """Of the model it serves."""
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"

    def metric(self, name: str) -> float:
        """The sum of a counter or gauge over its labels."""
        text = httpx.get(f"{self.address}/metrics", timeout=10).text
        values = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        assert values, f"the server has no metric {name}"
        return sum(map(float, values))

    def idle_within(self, seconds: float) -> bool:
        """Whether it stops working on requests by then."""
        until = time.monotonic() + seconds
        while busy := self.metric("vllm:num_requests_running") + self.metric("vllm:num_requests_waiting"):
            if time.monotonic() > until:
                break
            time.sleep(0.05)
        return not busy

    def kill(self) -> None:
        """At once, with all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_END)


@contextmanager
def serving(
    model: Path,
    name: str,
    folder: Path,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    plugin: bool = True,
    python: str = sys.executable,
) -> Iterator[Server]:
    """Serves a model's folder under a name until the block ends. ``folder`` takes the log.

    By the line that gate prints, so that it can be read inside; without ``plugin`` as anyone would serve it.
    Fails with the end of the log when the server does not come up, or is not up any more at the end of the block
    (unless the block killed it).
    """
    port, log = _free_port(), folder / f"{name}.log"
    line = serve_line(
        str(model), port=port, served_model_name=name, further=("--dtype", "float32", "--enforce-eager", *arguments)
    )
    command = [python, *line.arguments[1:]]
    if not plugin:
        at = command.index("--kv-transfer-config")
        del command[at : at + 2]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_ENVIRONMENT, **(line.environment if plugin else {}), **(environment or {})},
            start_new_session=True,  # a group of its own, so that its workers end with it
        )
    server = Server(name, port, process, log)
    try:
        _await(server)
        yield server
        assert process.poll() in (None, -signal.SIGKILL), _ended(server)
    finally:
        _end(server)


def _await(server: Server) -> None:
    until = time.monotonic() + _READY
    while True:
        assert server.process.poll() is None, _ended(server)
        assert time.monotonic() < until, f"vLLM was not up after {_READY:.0f} s:\n{_tail(server.log)}"
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{server.address}/health", timeout=5).status_code == 200:
                return
        time.sleep(0.25)


def _end(server: Server) -> None:
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(server.process.pid, signal.SIGTERM)
        server.process.wait(_END)
    server.kill()  # whoever of the group is left


def _ended(server: Server) -> str:
    return f"vLLM ended with status {server.process.poll()}:\n{_tail(server.log)}"


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-6000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
