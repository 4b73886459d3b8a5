"""Without Ray. With it: `tests.integrations.test_ray_data`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gate.errors import MissingExtra
from gate.tuning.parts import map_records
from tests.commands import gate
from tests.tuning.test_collect_parts import questions_in
from tests.tuning.test_parts import Doubled, log_of


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"gate-llm\[ray\]"):
        list(map_records(log_of(tmp_path, {"n": 1}), Doubled(), on="ray", folder=tmp_path / "parts"))


def test_it_says_so_before_a_collection_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    told = ("collect", questions_in(tmp_path, 2), "-p", "balanced", "-o", tmp_path / "c.db", "--on", "ray")
    ran = gate(*told, "--parts", tmp_path / "parts")
    assert ran.code == 2
    assert ran.complaint.endswith("pip install 'gate-llm[ray]'")
    assert not (tmp_path / "c.db").exists()
    assert not (tmp_path / "parts").exists()
