"""The OpenAI client for Node pointed at a running gate: what it is tested by stands in ``node/openai.test.mjs``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.proxy.gate_process import ROOT, Serving

INSTALLED = ROOT / "build" / "node" / "node_modules"
SCRIPT = Path(__file__).parent / "node" / "openai.test.mjs"


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
@pytest.mark.skipif(not (INSTALLED / "openai").is_dir(), reason="'make node-client' has not installed the client")
def test_the_client_for_node(house: Serving, tmp_path: Path) -> None:
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "node_modules").symlink_to(INSTALLED)  # where the script's imports are looked for
    environment = {**os.environ, "GATE_URL": house.url, "GATE_KEY": house.keys["app"]}
    command = ["node", "--test", "--test-reporter=spec", SCRIPT.name]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "pass 10" in run.stdout, "and none was left out"
