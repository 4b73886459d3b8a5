"""What tests of litellm share: a policy that judges its answers, and its proxy as a process of its own."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.proxy.scripted_upstream import scripted
from tests.upstreams.faulty_server import FaultyServer

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # before it is imported: nothing is fetched
ROOT = Path(__file__).parents[2]
KEY = "sk-gE7tLmQ4vX2rWc9bKzPdHs6nYj"
"""Of the proxy."""
BEARING_KEY = "sk-hT5mXq8sVb2YwL9dRnKc"
"""Of the deployment that names the guardrail itself."""
UPSTREAM_KEY = "sk-wK3vQ9xTz5RbNc81LmPj"
UNSURE = "I am not sure."
_JUDGING = {
    "name": "careful",
    "promise": {"max_error": 0.05},
    "upstreams": {"app": {"kind": "caller", "identity": "app-1"}},
    "ladder": ["app"],
    "tiers": [["draft", "samples", "meanings"]],
    "evidence": {"samples": {"n": 3}, "meanings": {"judge": "lexical"}},
    "signals": ["vote_share"],
    "calibrator": "vote_share",
    "rule": {"answer_at": 0.75},
    "abstain": UNSURE,
}
quiet = (
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning"),
)
"""litellm keeps connections and loops to the end of the process, and pydantic warns of its types."""


def judging(folder: Path) -> Path:
    path = folder / "careful.yaml"
    path.write_text(yaml.safe_dump(_JUDGING))
    return path


async def closed() -> None:
    """Close what litellm opened on this loop."""
    import litellm

    await litellm.close_litellm_async_clients()
    litellm.in_memory_llm_clients_cache.flush_cache()


@pytest.fixture(scope="module")
def _swept() -> Iterator[None]:
    """What litellm left behind is collected here, and not in a test of somebody else's."""
    yield
    gc.collect()


@dataclass(frozen=True)
class Proxy:
    """A running LiteLLM, over a scripted upstream."""

    url: str
    upstream: FaultyServer
    log: Path


_RUNNING = pytest.StashKey[Proxy]()


@pytest.fixture
def litellm_proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    """Started once, for all who ask for it: that takes seconds."""
    stash = request.config.stash
    if _RUNNING not in stash:
        stack = contextlib.ExitStack()
        request.config.add_cleanup(stack.close)
        stash[_RUNNING] = stack.enter_context(_started(tmp_path_factory.mktemp("litellm")))
    return stash[_RUNNING]


@contextlib.contextmanager
def _started(folder: Path) -> Iterator[Proxy]:
    with FaultyServer.of(scripted) as upstream:
        (folder / "config.yaml").write_text(yaml.safe_dump(_config(folder, upstream.url)))
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        command = [Path(sys.executable).with_name("litellm"), "--config", str(folder / "config.yaml")]
        command += ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT) as process,
        ):
            try:
                _wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, folder / "log")
                yield Proxy(f"http://127.0.0.1:{port}/v1", upstream, folder / "log")
            finally:
                process.terminate()
                process.wait(20)


def _config(folder: Path, upstream: str) -> dict[str, Any]:
    policy = str(judging(folder))

    def guardrail(name: str, **more: Any) -> dict[str, Any]:
        kind = {"guardrail": "gate.integrations.litellm_guardrail.GateGuardrail", "mode": "post_call"}
        return {"guardrail_name": name, "litellm_params": {**kind, "policy": policy, "samples": 3, **more}}

    where = {"api_base": upstream, "api_key": UPSTREAM_KEY}
    bearing = {"model": "openai/m", "api_base": upstream, "api_key": BEARING_KEY}
    nowhere = {"model": "openai/m", "api_base": "http://127.0.0.1:9", "api_key": "none"}
    return {
        "model_list": [
            {"model_name": "plain", "litellm_params": {"model": "openai/m", **where}},
            {"model_name": "bearing", "litellm_params": {**bearing, "guardrails": ["refusing"]}},
            {"model_name": "bearing-hard", "litellm_params": {**bearing, "guardrails": ["failing"]}},
            {"model_name": "falling", "litellm_params": nowhere},
            {"model_name": "falling-hard", "litellm_params": nowhere},
            {"model_name": "balanced", "litellm_params": {"model": "gate/balanced"}},
            {"model_name": "any/*", "litellm_params": {"model": "gate/*"}},
        ],
        "guardrails": [
            guardrail("refusing"),
            guardrail("failing", on_abstention="error"),
            guardrail("noting", on_abstention="annotate"),
            guardrail("drawing-none", samples=0),
        ],
        "litellm_settings": {
            "custom_provider_map": [
                {"provider": "gate", "custom_handler": "gate.integrations.litellm_provider.gate_provider"}
            ]
        },
        "router_settings": {
            "fallbacks": [{"falling": ["bearing"]}, {"falling-hard": ["bearing-hard"]}],
            "num_retries": 0,
        },
        "general_settings": {"master_key": KEY},
    }


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"it does not start: {log.read_text()}")
