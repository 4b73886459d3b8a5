"""A real Redis server of the tests' own, in a folder of its own, on a unix socket or a port of this machine."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class RedisServer:
    """Keeps what it was told over restarts, as one with an append-only file does."""

    def __init__(self, program: str, folder: Path, appendfsync: str = "no") -> None:
        self._program = program
        self._appendfsync = appendfsync
        self._folder = folder
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        where = ["--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._folder)]
        kept = ["--appendonly", "yes", "--appendfsync", self._appendfsync, "--save", ""]
        command = [self._program, *where, *kept, "--loglevel", "warning"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while self._answer() != b"+PONG\r\n":
            assert self._process.poll() is None, "redis-server did not start"
            assert time.monotonic() < until, "redis-server did not answer in time"
            time.sleep(0.01)

    def stop(self) -> None:
        """In good order: what it was told is in its file."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """It takes what it is sent and answers nothing, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answer(self) -> bytes:
        with socket.socket(socket.AF_UNIX) as asking:
            try:
                asking.connect(str(self._socket))
                asking.sendall(b"PING\r\n")
                return asking.recv(64)
            except OSError:
                return b""


@contextmanager
def redis_server(appendfsync: str = "no") -> Iterator[RedisServer]:
    """An empty one. ``appendfsync``: when it waits for its disk, in Redis's own words.

    Skips where there is none, saying so.
    """
    pytest.importorskip("redis", reason="redis is an extra: pip install 'gate-llm[redis]'")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server here")
    folder = Path(tempfile.mkdtemp(prefix="gate-redis-"))
    server = RedisServer(program, folder, appendfsync)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
