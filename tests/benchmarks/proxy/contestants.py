"""Who is measured, and how each is started: one worker, no database but its own log, nothing asked of the network.

The peers are installed once, each in an environment of its own in ``build``. What cannot be had is named with the
reason, and the rest is measured without it.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import peer_environment
from tests.benchmarks.peer_environment import ONLY_BINARY, CannotInstall
from tests.benchmarks.proxy.load import ROOT, Asked
from tests.benchmarks.proxy.served_policies import write_policy, write_server
from tests.benchmarks.proxy.server_process import free_port

LITELLM, FIRSTPASS = "litellm[proxy]==1.108.7", "firstpass==0.9.0"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
TITLES = {
    "direct": "upstream direct (nginx)",
    "aiohttp": "bare aiohttp pass-through",
    "one-draft": "gate, one draft, log-probabilities",
    "five-samples": "gate, draft and five samples",
    "pass-through": "gate, /v1/completions passed through",
    "litellm": f"LiteLLM proxy {LITELLM.partition('==')[2]}",
    "firstpass": f"firstpass {FIRSTPASS.partition('==')[2]}, enforce, non-empty",
}
"""In the order of the table."""
_MESSAGES = [
    {"role": "system", "content": "You answer briefly."},
    {"role": "user", "content": "Where is Lagos?"},
]
_FIRSTPASS = """\
[[route]]
match = {}
mode = "enforce"
ladder = ["openai/m"]
gates = ["non-empty"]

[[price]]
model = "openai/m"
input_per_mtok = 0.0
output_per_mtok = 0.0
"""


@dataclass(frozen=True, slots=True)
class Contestant:
    """What is asked, and the server that answers; without a ``command`` it is the upstream itself."""

    name: str
    asked: Asked
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    """Its decision log, a SQLite file, and ``table`` the one that has a row for each request."""
    table: str = ""
    patience: int = 1
    """How many times as long as others it is measured: what answers a hundred a second needs longer to tell."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Who cannot be measured, and why."""

    name: str
    reason: str


def contestant(name: str, folder: Path, upstream_port: int) -> Contestant | Absent:
    """How to start the one of this name; its files go to ``folder``."""
    upstream = f"http://127.0.0.1:{upstream_port}"
    try:
        match name:
            case "direct":
                return Contestant(name, _asked(upstream_port))
            case "aiohttp":
                asked = _asked(free_port())
                command = (sys.executable, "-m", "tests.benchmarks.proxy.passing_on", str(asked.port), upstream)
                return Contestant(name, asked, command)
            case "litellm":
                return _litellm(folder, upstream)
            case "firstpass":
                return _firstpass(folder, upstream)
        return gate(name, folder, upstream)
    except CannotInstall as error:
        return Absent(name, f"could not be installed: {error}")


def gate(name: str, folder: Path, upstream: str) -> Contestant:
    """A gate that serves one of `tests.benchmarks.proxy.served_policies`, in the folder of its own."""
    passed = name == "pass-through"
    asked = _asked(free_port(), path=TEXT if passed else CHAT, model="m" if passed else "gate")
    folder = folder / f"gate-{asked.port}"
    folder.mkdir()
    policy = write_policy(folder, "one-draft" if passed else name, upstream)
    log = folder / "decisions.db"
    command = (sys.executable, "-m", "gate", "serve", "--config", str(write_server(folder, policy, asked.port, log)))
    return Contestant(name, asked, command, {}, None if passed else log, "gate_decisions")


def _litellm(folder: Path, upstream: str) -> Contestant:
    home = _installed("litellm", LITELLM)
    asked = _asked(free_port(), key=f"sk-{secrets.token_hex(16)}")  # it refuses to start without a key
    options = {"model": "openai/m", "api_base": f"{upstream}/v1", "api_key": "none"}
    config = folder / "litellm.yaml"
    config.write_text(json.dumps({"model_list": [{"model_name": "m", "litellm_params": options}]}), "utf-8")
    where = ("--host", "127.0.0.1", "--port", str(asked.port), "--num_workers", "1")
    environment = {
        "HOME": str(folder),
        "PATH": f"{home / 'bin'}:/usr/bin:/bin",
        "PYTHONPATH": "",
        "LITELLM_MASTER_KEY": asked.key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOG": "ERROR",
        "DISABLE_ADMIN_UI": "True",
        "NO_DOCS": "True",
    }
    command = (str(home / "bin" / "litellm"), "--config", str(config), *where)
    return Contestant("litellm", asked, command, environment, patience=2)


def _firstpass(folder: Path, upstream: str) -> Contestant:
    home = _installed("firstpass", FIRSTPASS)
    asked = _asked(free_port())
    config, log = folder / "firstpass.toml", folder / "firstpass.db"
    config.write_text(_FIRSTPASS, "utf-8")
    environment = {
        "FIRSTPASS_MODE": "enforce",
        "FIRSTPASS_CONFIG": str(config),
        "FIRSTPASS_BIND": f"127.0.0.1:{asked.port}",
        "FIRSTPASS_UPSTREAM_OPENAI": upstream,
        "FIRSTPASS_DB": str(log),
        "FIRSTPASS_PROMPT_SALT": secrets.token_hex(16),
        "OPENAI_API_KEY": "none",
        "RUST_LOG": "warn",
    }
    return Contestant("firstpass", asked, (str(home / "bin" / "firstpass-proxy"),), environment, log, "traces")


def _installed(name: str, package: str) -> Path:
    """The folder of an environment that holds the package. Raises `CannotInstall`."""
    folder = ROOT / "build" / f"peers-{name}"
    peer_environment.prepare(folder, ((*ONLY_BINARY, package),))
    return folder


def _asked(port: int, *, path: str = CHAT, model: str = "m", key: str = "none") -> Asked:
    body = {"model": model, "prompt": "Where is Lagos?"} if path == TEXT else {"model": model, "messages": _MESSAGES}
    return Asked(port, path, json.dumps(body, separators=(",", ":")), key)
