"""A command under the profiler writes its table, however it ends."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.benchmarks.proxy import profiling


def test_the_table_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def command() -> None:
        signal.raise_signal(signal.SIGUSR1)
        sorted(range(10), key=lambda n: -n)
        raise SystemExit(0)

    target, before = tmp_path / "profile.txt", signal.getsignal(signal.SIGUSR1)
    monkeypatch.setattr("gate.cli.main", command)
    monkeypatch.setattr(sys, "argv", ["profiling", str(target), "serve"])
    try:
        with pytest.raises(SystemExit):
            profiling.main()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "Ordered by: internal time" in target.read_text()
    assert "{built-in method builtins.sorted}" in target.read_text()
