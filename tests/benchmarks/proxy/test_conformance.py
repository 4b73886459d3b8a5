"""The benchmark as it is called, where its tools are not to be had."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.benchmarks.proxy import __main__ as benchmark


def test_without_its_tools_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr("sys.argv", ["proxy", "--out", str(tmp_path / "build")])
    benchmark.main()
    made = json.loads((tmp_path / "build" / "bench-proxy.json").read_text())
    assert made["skipped"].startswith("nothing was measured: nginx and wrk cannot be found")
    assert not made["pinned"]
    assert made["skipped"] in (tmp_path / "build" / "bench-proxy.md").read_text()
    assert made["skipped"] in capsys.readouterr().out
