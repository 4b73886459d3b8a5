"""How each is to be started; and that one which cannot be had is named with the reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.benchmarks import peer_environment
from tests.benchmarks.peer_environment import CannotInstall
from tests.benchmarks.proxy.contestants import TITLES, Absent, Contestant, contestant


def test_every_name_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_environment, "prepare", lambda folder, steps: folder / "bin" / "python")
    made = [contestant(name, tmp_path, 9000) for name in TITLES]
    assert [each.name for each in made] == list(TITLES)
    listed = [each for each in made if isinstance(each, Contestant)]
    assert len(listed) == len(TITLES)
    assert len({each.asked.port for each in listed}) == len(TITLES)
    assert [each.name for each in listed if each.log] == ["one-draft", "five-samples", "firstpass"]
    for each in listed:
        assert json.loads(each.asked.body)["model"] in {"m", "gate"}
        assert "9000" in "".join([*each.command, *each.environment.values(), *_written(tmp_path)])


def _written(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.rglob("*") if path.suffix in {".yaml", ".toml"}]


@pytest.mark.parametrize("name", ["litellm", "firstpass"])
def test_a_peer_that_cannot_be_installed_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, steps: Sequence[Sequence[str]]) -> Path:
        raise CannotInstall(f"{steps[0][-1]}: no network")

    monkeypatch.setattr(peer_environment, "prepare", refuse)
    made = contestant(name, tmp_path, 9000)
    assert isinstance(made, Absent)
    assert made.reason.startswith(f"could not be installed: {name}")
    assert made.reason.endswith("no network")
