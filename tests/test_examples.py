"""The examples run as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_questions_become_a_certified_policy_and_a_report(tmp_path: Path) -> None:
    folder = EXAMPLES / "tune_policy"
    some = (folder / "questions.csv").read_text(encoding="utf-8").splitlines(keepends=True)[:301]
    (tmp_path / "some.csv").write_text("".join(some), encoding="utf-8")
    called = {**os.environ, "GATE": f"{sys.executable} -m gate"}
    run = [folder / "run.sh", tmp_path / "made", tmp_path / "some.csv"]
    said = subprocess.run(run, env=called, capture_output=True, text=True, check=True, timeout=110).stdout
    assert "300 of 300 questions have full evidence" in said
    tuned = load_gateway(str(tmp_path / "made" / "my-policy.yaml"))
    assert tuned.certified
    assert tuned.certificate is not None
    assert tuned.certificate.bound <= tuned.policy.promise.max_error
    assert (tmp_path / "made" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(("folder", "kind"), [("openai_compatible", "openai_chat"), ("vllm", "vllm")])
def test_the_policy_for_ones_own_server_loads(folder: str, kind: str) -> None:
    gateway = load_gateway(str(EXAMPLES / folder / "policy.yaml"))
    assert gateway.policy.upstreams["main"].kind == kind
    assert not gateway.certified
