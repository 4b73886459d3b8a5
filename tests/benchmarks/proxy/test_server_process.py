"""A process that answers, one that answers wrongly, one that ends; and what the kernel says of one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.benchmarks.proxy.load import Asked
from tests.benchmarks.proxy.server_process import CannotStart, ServerProcess, cpu_seconds, free_port, resident

SERVER = """
import http.server, sys
class Says(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200); self.send_header("content-length", "5"); self.end_headers(); self.wfile.write(b"hello")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Says).serve_forever()
"""


def started(folder: Path, *command: str) -> ServerProcess:
    return ServerProcess((sys.executable, *command), {}, 0, folder / "said.log")


def test_a_server_is_waited_for_frozen_and_ended(tmp_path: Path) -> None:
    asked = Asked(free_port(), "/", "{}", "none")
    server = started(tmp_path, "-c", SERVER, str(asked.port))
    try:
        server.wait_until_it_answers(asked, "hello")
        assert server.resident > 1
        assert server.cpu_seconds > 0
        with pytest.raises(CannotStart, match="answered 200 hello"):
            server.wait_until_it_answers(asked, "goodbye")
        server.freeze()
    finally:
        server.stop()
    with pytest.raises(CannotStart, match="ended with -15"):
        server.wait_until_it_answers(asked, "hello")


def test_one_that_ends_says_why(tmp_path: Path) -> None:
    server = started(tmp_path, "-c", "raise SystemExit('no such policy')")
    with pytest.raises(CannotStart, match="ended with 1: no such policy"):
        server.wait_until_it_answers(Asked(free_port(), "/", "{}", "none"), "")
    server.stop()


def test_no_key_of_anyone_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    code = "import os; raise SystemExit('SOME_API_KEY' in os.environ)"
    with pytest.raises(CannotStart, match="ended with 0"):
        started(tmp_path, "-c", code).wait_until_it_answers(Asked(free_port(), "/", "{}", "none"), "")


def test_what_the_kernel_says() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 100"
    assert cpu_seconds(stat) == 200 / ticks
    assert resident("Name:\tx\nVmRSS:\t  125000 kB\nThreads:\t1\n") == 128.0
