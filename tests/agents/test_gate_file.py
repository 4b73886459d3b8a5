"""The file of a fitted tool gate: written, read, and refused where it does not belong to what runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gate.agents import ToolGate, ToolGateFile
from gate.errors import ConfigError, StaleCalibrator
from tests.agents.made import POLICY, call, gate, learned, sure


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tools.gate.json"
    learned().save(path)
    assert ToolGateFile.load(path) == learned()
    assert ToolGateFile.load(path).fingerprint == learned().fingerprint
    made = call("pay", to="ann", amount=10)
    assert ToolGate(POLICY, path).check(made, samples=sure(made)) == gate().check(made, samples=sure(made))
    with pytest.raises(ConfigError, match="not written over"):
        learned().save(path)
    learned().save(path, overwrite=True)


def test_one_fitted_for_another_policy_is_refused() -> None:
    other = {**POLICY, "max_error": {"reversible": 0.1, "irreversible": 0.01}}
    with pytest.raises(StaleCalibrator, match="fitted for another tool policy"):
        ToolGate(other, learned())


def changed(data: dict[str, Any], name: str) -> None:
    promise = next(each for each in data["promises"] if "certificate" in each)
    match name:
        case "bound":
            promise["certificate"]["bound"] = 0.9
        case "threshold":
            del promise["threshold"]
        case "alpha":
            promise["alpha"] = 0.001
        case "signals":
            data["calibrator"]["signals"] = ["call_agreement"]
        case "version":
            data["version"] = 2


@pytest.mark.parametrize("name", ["bound", "threshold", "alpha", "signals", "version"])
def test_one_that_does_not_hold_together_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "tools.gate.json"
    learned().save(path)
    data = json.loads(path.read_text(encoding="utf-8"))
    changed(data, name)
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ConfigError, match="not a usable tool gate"):
        ToolGateFile.load(path)
    with pytest.raises(ConfigError, match="cannot read the tool gate"):
        ToolGate(POLICY, tmp_path / "none.json")
