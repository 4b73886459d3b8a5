"""The examples run as they are."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.agents import RunRecord
from gate.assemble import load_gateway
from gate.gateway import Gateway
from gate.types import Action, Question

EXAMPLES = Path(__file__).parents[1] / "examples"
of_half_a_minute = pytest.mark.skipif(
    os.environ.get("GATE_TEST_EXAMPLES") != "1", reason="takes half a minute: run make test-examples"
)


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


def test_a_client_of_the_openai_library_is_gated() -> None:
    run = subprocess.run(
        [sys.executable, EXAMPLES / "openai_client" / "ask.py"], capture_output=True, text=True, check=True
    )
    asked = run.stdout.splitlines()
    assert asked[0] == "Where is Nanjing? China"
    assert asked[1].startswith("  answer (confident), p = 0.99")
    assert asked[1].endswith("by small")
    assert asked[2] == "  2 calls, 33 tokens, certified: True"
    assert asked[3] == "Where is Qom? Iran"
    assert asked[4].endswith("by large")
    assert asked[6] == "Where is Gorinchem? I am not sure enough of an answer to give you one."
    assert asked[7].startswith("  abstain (uncertain)")


def test_functions_are_guarded() -> None:
    script = EXAMPLES / "decorator" / "guard.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert lines[:8] == [
        "answered: India",
        "withheld: I am not sure enough to tell you.",
        "or default: India",
        "or default: (nothing)",
        "returned: Egypt",
        "returned: abstained (uncertain): I am not sure enough of an answer to give you one.",
        "in pieces: India ",
        "with its decision: Canada (p = 0.83, confident, 5 calls)",
    ]
    assert lines[-1].startswith("look_up was called 2 times, and ")


@of_half_a_minute
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


@of_half_a_minute
def test_what_was_observed_makes_a_policy_that_is_then_enforced(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    called = {**os.environ, "GATE": f"{sys.executable} -m gate", "PYTHON": sys.executable}
    run = [EXAMPLES / "observe" / "run.sh", "--quick", tmp_path / "made", port]
    said = subprocess.run(run, env=called, capture_output=True, text=True, check=True, timeout=110).stdout
    assert "200 questions in " in said
    tuned = load_gateway(str(tmp_path / "made" / "ramp.yaml"))
    assert tuned.certified
    assert tuned.certificate is not None
    assert "200 by people" in tuned.certificate.labels
    told = re.findall(r"(observed|enforced): answered ([\d.]+)% of 60 .*, ([\d.]+)% of the answers wrong", said)
    observed, enforced = ((float(coverage), float(wrong)) for _, coverage, wrong in told)
    assert observed[0] == 100.0, "until then every first draft goes out"
    assert observed[1] > 25.0
    assert enforced[0] > 60.0
    assert enforced[1] < 12.0


def test_an_agents_calls_are_gated_and_its_run_stops_when_the_risk_is_spent(tmp_path: Path) -> None:
    run = [sys.executable, EXAMPLES / "agent" / "run.py", tmp_path / "made"]
    said = subprocess.run(run, capture_output=True, text=True, check=True, timeout=110).stdout
    assert len(re.findall(r"shown: at most [\d.]+% wrong", said)) == 2, said
    verdicts = re.findall(r"^(\w+)\(.*\): (\w+) \((\w+)", said, re.MULTILINE)
    assert [reason for _, _, reason in verdicts[:2]] == ["confident", "already_done"]
    assert {action for _, action, _ in verdicts} == {"approve", "ask", "escalate", "refuse", "stop"}
    assert [reason for _, _, reason in verdicts[-2:]] == ["risk_spent", "stopped"]
    assert 'May "book_trip" be called with\n        city = "Chicago"\n        country = "Japan"\n' in said
    assert "Chicago in Japan? no\n    The call of 'book_trip' was not made" in said
    assert "Mashhad in Iran? yes\n    booked Mashhad, Iran" in said
    record = RunRecord.load((tmp_path / "made" / "run.json").read_bytes())
    assert record.spent <= 0.1
    others = [step for step in record.steps if step.verdict.approved and step.verdict.gate != record.gate]
    assert [round(step.spent, 9) for step in others] == [0.02], "what the policy promises of it, times its cost"
    assert [step.verdict.call.name for step in record.steps if step.came == "done"].count("book_trip") == 3


def test_ones_own_documents_are_indexed_and_answered_from(tmp_path: Path) -> None:
    called = {**os.environ, "GATE": f"{sys.executable} -m gate"}
    run = [EXAMPLES / "retrieval" / "run.sh", tmp_path / "made"]
    said = subprocess.run(run, env=called, capture_output=True, text=True, check=True).stdout
    assert "6 passages" in said
    assert "retrieve → small/with_passages/tier0 answer" in said
    assert "│ Norway " in said


@pytest.mark.parametrize(("folder", "kind"), [("openai_compatible", "openai_chat"), ("vllm", "vllm")])
def test_the_policy_for_ones_own_server_loads(folder: str, kind: str) -> None:
    gateway = load_gateway(str(EXAMPLES / folder / "policy.yaml"))
    assert gateway.policy.upstreams["main"].kind == kind
    assert not gateway.certified


@pytest.mark.parametrize(
    ("question", "action", "text"),
    [
        ("Where is Tripoli?", Action.CLARIFY, "Your question can be understood in more than one way."),
        ("Wo liegt Hyderabad?", Action.CLARIFY, "Ihre Frage lässt sich auf mehrere Arten verstehen."),
        ("Where is Tripoli in Lebanon?", Action.ANSWER, "Lebanon"),
        ("Where is Oslo?", Action.ANSWER, "Norway"),
    ],
)
def test_an_ambiguous_question_is_asked_back(question: str, action: Action, text: str, asking_back: Gateway) -> None:
    outcome, _ = asking_back.ask(Question.from_text(question))
    assert (outcome.action, outcome.text.startswith(text)) == (action, True), outcome.text


def test_a_refusal_speaks_the_askers_language_shows_what_was_found_and_marks_what_is_unsure(refusing: Gateway) -> None:
    outcome, _ = refusing.ask(Question.from_text("Wo liegt Atlantis?"))
    assert (outcome.action, outcome.decision.reason) == (Action.ABSTAIN, "no_passages")
    assert outcome.text.startswith("Ich kenne die Antwort auf Ihre Frage nicht sicher")
    outcome, _ = refusing.ask(Question.from_text("¿Dónde está Springfield?"))
    assert (outcome.action, outcome.hedged, outcome.generation) == (Action.ABSTAIN, True, None)
    assert outcome.text.startswith("No estoy seguro, pero puede que sea: United States\n\nLo encontrado hasta ahora")
    assert [passage.id for passage in outcome.passages] == ["country:Springfield"]


@pytest.fixture(scope="module")
def asking_back() -> Iterator[Gateway]:
    yield from opened("clarify")


@pytest.fixture(scope="module")
def refusing() -> Iterator[Gateway]:
    yield from opened("abstain")


def opened(example: str) -> Iterator[Gateway]:
    gateway = load_gateway(str(EXAMPLES / example / "policy.yaml"))
    yield gateway
    gateway.close()


def test_the_large_model_is_asked_where_the_small_one_is_unsure_and_a_person_where_both_are(tmp_path: Path) -> None:
    folder = EXAMPLES / "escalate"
    desk = subprocess.Popen([sys.executable, folder / "desk.py", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert desk.stdout is not None
        port = desk.stdout.readline().rsplit(":")[-1].strip()
        text = (folder / "policy.yaml").read_text(encoding="utf-8").replace(":8899/", f":{port}/")
        (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
        gateway = load_gateway(str(tmp_path / "policy.yaml"))
        answered, _ = gateway.ask(Question.from_text("Where is Leicester?"))
        assert (answered.text, answered.upstream) == ("United Kingdom", "large")
        assert answered.cost.money > 0
        handed, _ = gateway.ask(Question.from_text("Where is Atlantis?"))
        assert (handed.action, handed.reference) == (Action.ABSTAIN, "desk-1")
        assert desk.stdout.readline().startswith("#1: Where is Atlantis? (uncertain;")
        gateway.close()
    finally:
        desk.kill()
        desk.communicate()
