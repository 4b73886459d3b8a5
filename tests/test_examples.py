"""The examples run as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gate.assemble import load_gateway

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_asking_from_python() -> None:
    run = subprocess.run(
        [sys.executable, EXAMPLES / "python" / "ask.py", "Where is Nanjing?"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = run.stdout.splitlines()
    said = lines[0]
    assert said == "answer: China"
    assert lines[-2] == f"on an event loop: {said}"
    assert lines[-1] == f"replayed, with no calls: {said}"


def test_the_policy_for_ones_own_server_loads() -> None:
    gateway = load_gateway(str(EXAMPLES / "openai_compatible" / "policy.yaml"))
    assert gateway.policy.upstreams["main"].kind == "openai_chat"
    assert not gateway.certified
