"""Ray listens on every interface, whatever address it is told: its tests run in a network that has none but ``lo``."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).parent
ROOT = _FOLDER.parents[1]


def run_cases(name: str, *, seconds: float) -> None:
    """Run the tests of a file of this folder in such a network. Skips where none can be had, saying so."""
    pytest.importorskip("ray", reason="ray is an extra: pip install 'gate-llm[ray]'")
    alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    up = ["ip", "link", "set", "lo", "up"]
    try:
        tried = subprocess.run([*alone, *up], capture_output=True, text=True, timeout=10)
    except OSError as error:
        pytest.skip(f"there is no network of their own for Ray's tests: {error}")
    if tried.returncode:
        pytest.skip(f"there is no network of their own for Ray's tests: {tried.stderr.strip()}")
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(_FOLDER / name)]
    script = f'{" ".join(up)} && exec "$@"'
    environment = {**os.environ, "GATE_TEST_INTEGRATIONS": "1"}
    ran = subprocess.run(
        [*alone, "sh", "-c", script, "sh", *tests],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]


def names_of_interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


@contextmanager
def ray_cluster(**options: Any) -> Iterator[Any]:
    """A small one, in this process and those it starts, with its files in a folder of its own."""
    import ray

    assert names_of_interfaces() == ["lo"], "Ray is to be run where nobody can reach it"
    folder = Path(tempfile.mkdtemp(prefix="gate-ray-"))  # short: sockets lie in it
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else one is written into the home of whoever tests
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray.init(
            num_cpus=4,
            object_store_memory=80 * 2**20,
            include_dashboard=False,
            namespace="serve",
            _temp_dir=str(folder),
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
            **options,
        )
        yield ray
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
