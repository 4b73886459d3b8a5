"""A datagram where systemd listens, and nothing where it does not."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from gate.proxy.sd_notify import notify

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is of Linux")


@pytest.mark.parametrize("abstract", [False, True])
def test_it_tells_who_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@gate-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert notify("READY=1")
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/at/all", "@gate-nobody", "/" + "a" * 200])
def test_that_nobody_listens_is_no_failure(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    assert not notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert not notify("READY=1")
