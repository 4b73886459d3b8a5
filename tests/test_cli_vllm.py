"""The command that says how to serve, as a user runs it."""

from __future__ import annotations

import json
import shlex

import pytest
from typer.testing import CliRunner

from gate.cli import app
from gate.engine_plugin import serve_line

runner = CliRunner()


def test_the_line_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    options = ["--port", "8001", "--layers", "2,4", "--served-model-name", "mine"]
    result = runner.invoke(app, ["vllm-args", "a model/with a space", *options])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    words = shlex.split(result.stdout)
    assert words[:2] == ["GATE_READ_STATES=1", "VLLM_HOST_IP=127.0.0.1"]
    for name, value in (("--model", "a model/with a space"), ("--port", "8001"), ("--served-model-name", "mine")):
        assert words[words.index(name) + 1] == value
    transfer = json.loads(words[words.index("--kv-transfer-config") + 1])
    assert transfer["kv_connector_extra_config"] == {"layers": [2, 4]}


@pytest.mark.parametrize("layers", ["", "a", "1,,2", "4,2", "0", "1.5"])
def test_layers_that_cannot_be_are_refused(layers: str) -> None:
    result = runner.invoke(app, ["vllm-args", "m", "--layers", layers])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "layers must be" in result.stderr


def test_an_untried_vllm_is_told_beside_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_line, "untried", lambda: "vllm 9.9 is installed")
    result = runner.invoke(app, ["vllm-args", "m"])
    assert result.exit_code == 0
    assert "vllm 9.9" in result.stderr
    assert "9.9" not in result.stdout
