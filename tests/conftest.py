"""What every test gets: no keys of the person who runs it, and no network but this machine's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.commands import Folder

os.environ["COLUMNS"] = "160"  # before consoles are made
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: threads only slow the small matrices of the tests

settings.register_profile("gate", deadline=None, max_examples=40)  # a busy machine is no defect
settings.load_profile("gate")

_KEYS = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """What `tests.commands.make` makes, once for all tests of commands: whoever changes it changes a copy."""
    from tests.commands import make

    folder = tmp_path_factory.mktemp("made")
    make(folder)
    return folder


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _KEYS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that reaches out fails; that it was tried is noted too, in case the code under test hides the error."""
    strayed: list[str] = []
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            strayed.append(address[0])
            raise ConnectionRefusedError(f"tests stay on this machine, not {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield
    assert not strayed, f"tried to connect to {strayed}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
