"""The commands, run as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gate import __version__
from gate.cli import app, demo_facts
from gate.log.jsonl import TraceFile
from gate.pocket.world import facts_of
from gate.policy import find
from gate.traces import TraceRecord
from tests.decorator.policies import by_draft
from tests.upstreams.faulty_server import FaultyServer, chat

runner = CliRunner()


def gate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command in a process of its own."""
    command = Path(sys.executable).with_name("gate")
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_ask_shows_answer_or_refusal_p_contributions_and_cost() -> None:
    run = gate("ask", "Where is Lagos?")
    assert run.returncode == 0, run.stderr
    for part in ("p(right) =", "token_logprob_sum", "calls", "tokens", "ms", "promise: "):
        assert part in run.stdout


def test_ask_as_json_is_one_object_with_the_same_facts(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    result = runner.invoke(app, ["ask", "Where is Lagos?", "--json", "--trace", str(trace)])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["answered"] == (shown["action"] == "answer")
    assert 0 <= shown["confidence"]["low"] <= shown["confidence"]["p"] <= shown["confidence"]["high"] <= 1
    assert shown["cost"]["calls"] >= 1
    assert "Lagos" not in trace.read_text(), "a trace keeps no text unless asked"


def test_a_recorded_decision_is_explained_and_replayed(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    asked = runner.invoke(app, ["ask", "Where is Lagos?", "--json", "--trace", str(trace), "--text"])
    id_ = json.loads(asked.stdout)["id"]
    shown = runner.invoke(app, ["explain", str(trace), "--id", id_[:8], "--replay", "balanced"])
    assert shown.exit_code == 0, shown.output
    assert id_ in shown.stdout
    assert "asked: Where is Lagos?" in shown.stdout
    assert "vote_share" in shown.stdout
    assert json.loads(runner.invoke(app, ["explain", str(trace), "--json"]).stdout)["id"] == id_


def test_an_id_that_several_decisions_begin_with_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    for id_ in ("abc1", "abc2", "d"):
        TraceFile(trace).append(TraceRecord(id_, "now", "mine", "f", False, ()))
    refused = runner.invoke(app, ["explain", str(trace), "--id", "abc"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "several decisions begin with 'abc', as abc1 and abc2: give more of it" in refused.stderr
    for id_ in ("abc2", "d"):
        assert json.loads(runner.invoke(app, ["explain", str(trace), "--id", id_, "--json"]).stdout)["id"] == id_


def test_states_are_kept_beside_text_alone(tmp_path: Path) -> None:
    for more in ([], ["--trace", str(tmp_path / "trace.jsonl")], ["--text"]):
        result = runner.invoke(app, ["ask", "Where is Lagos?", "--states", *more])
        assert result.exit_code == 2
        assert "--states goes with --trace and --text" in result.stderr


def test_explaining_what_is_not_there_says_so(tmp_path: Path) -> None:
    assert runner.invoke(app, ["explain", str(tmp_path / "none.jsonl")]).exit_code == 2
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "holds no decisions" in runner.invoke(app, ["explain", str(empty)]).output
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{}\n")
    assert f"{broken}:1" in runner.invoke(app, ["explain", str(broken)]).output.replace("\n", "")


@pytest.mark.parametrize("name", ["balanced", "strict", "cost-saver", "rag", "agents"])
def test_check_reads_a_policy_aloud(name: str) -> None:
    result = runner.invoke(app, ["check", name])
    assert result.exit_code == 0, result.output
    for part in ("promise", "certificate", "answers at", "confidence"):
        assert part in result.stdout


def outdated(folder: Path) -> Path:
    """The balanced policy with a certificate of another time."""
    path = folder / "outdated.yaml"
    shipped = find("balanced")
    text = shipped.read_text(encoding="utf-8").replace(
        "balanced.calibrator.json", str(shipped.parent / "balanced.calibrator.json")
    )
    path.write_text(text, encoding="utf-8")
    return path


def test_a_void_certificate_is_said_and_the_exit_code_tells(tmp_path: Path) -> None:
    run = gate("check", str(outdated(tmp_path)))
    assert run.returncode == 1
    assert "void: policy is not what was certified" in " ".join(run.stdout.split())
    assert run.stderr.count("certificate of the policy 'balanced' is void") == 1
    assert "Exits 1 when its certificate is void" in " ".join(gate("check", "--help").stdout.split())
    asked = gate("ask", "Where is Lagos?", "--policy", str(outdated(tmp_path)))
    assert asked.returncode == 0
    assert asked.stderr.count("is void") == 1
    assert "Lagos" not in asked.stderr


def test_check_names_file_line_and_the_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\npromis: {max_error: 0.05}\n")
    run = gate("check", str(path))
    assert run.returncode == 2
    said = run.stderr.replace("\n", "")
    assert f"{path}:2" in said
    assert "did you mean 'promise'" in run.stderr.replace("\n", " ")


@pytest.mark.parametrize("question", ["", "   ", "x" * 20_000])
def test_questions_that_cannot_be_asked_are_refused_in_one_line(question: str) -> None:
    result = runner.invoke(app, ["ask", question])
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output


@pytest.mark.parametrize("as_json", [False, True])
def test_an_upstream_that_is_down_is_one_clear_error_and_the_trace_is_kept(as_json: bool, tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "examples" / "openai_compatible" / "policy.yaml"
    policy, trace = tmp_path / "policy.yaml", tmp_path / "trace.jsonl"
    text = (
        source.read_text()
        .replace("http://127.0.0.1:8000/v1", "http://127.0.0.1:9/v1")
        .replace("timeout: 30", "timeout: 2")
    )
    policy.write_text(text)
    result = runner.invoke(
        app, ["ask", "Where is Lagos?", "-p", str(policy), "--trace", str(trace), *(["--json"] if as_json else [])]
    )
    assert result.exit_code == 1
    assert "upstream 'main': cannot be reached" in result.stderr.replace("\n", " ")
    kept = json.loads(trace.read_text())
    assert kept["error"]
    if as_json:
        shown = json.loads(result.stdout)
        assert "upstream 'main': cannot be reached" in shown["error"]
        assert (shown["id"], shown["action"], shown["cost"]["calls"]) == (kept["id"], None, 4)
    else:
        assert result.stdout == ""


@pytest.mark.parametrize(("asked", "cause"), [((" ",), "empty"), (("x", "-p", "balansed"), "did you mean 'balanced'")])
def test_what_cannot_be_asked_is_json_too_when_json_is_wanted(asked: tuple[str, ...], cause: str) -> None:
    result = runner.invoke(app, ["ask", *asked, "--json"])
    assert result.exit_code == 2
    assert cause in json.loads(result.stdout)["error"]


def test_half_a_surrogate_pair_is_printed_as_a_question_mark(tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "examples" / "openai_compatible" / "policy.yaml"
    policy = tmp_path / "policy.yaml"
    with FaultyServer.of(chat("Ni\ud800geria")) as server:
        policy.write_text(source.read_text().replace("http://127.0.0.1:8000/v1", server.url))
        shown, whole = gate("ask", "Where is Lagos?", "-p", str(policy)), gate("ask", "x", "-p", str(policy), "--json")
    assert "Ni?geria" in shown.stdout, shown.stderr
    assert json.loads(whole.stdout)["text"] == "Ni?geria"


def test_who_brings_answers_along_is_not_asked_and_not_served(tmp_path: Path) -> None:
    path = str(by_draft(tmp_path))
    for command in (["ask", "Where is Lagos?", "-p", path], ["demo", "-p", path], ["serve", "-p", path]):
        result = runner.invoke(app, command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "of kind 'caller', which cannot be asked" in result.stderr.replace("\n", " ")
    assert runner.invoke(app, ["check", path]).exit_code == 0


def test_demo_counts_what_it_shows() -> None:
    totals = json.loads(runner.invoke(app, ["demo", "--count", "12", "--json"]).stdout)
    for row in totals.values():
        assert row["asked"] == 12
        assert row["right"] + row["wrong"] == row["answered"] <= 12
    assert totals["without gate"]["answered"] == 12
    assert totals["with gate"]["wrong"] <= totals["without gate"]["wrong"]


def test_demo_prints_a_row_a_question_and_the_totals() -> None:
    shown = runner.invoke(app, ["demo", "--count", "3"], env={"COLUMNS": "200"}).stdout
    for fact in demo_facts(3):
        assert fact.question in shown
    assert "without gate" in shown
    assert "with gate" in shown


def test_demo_questions_are_of_the_test_split_and_nobodys_choice() -> None:
    assert set(demo_facts(50)) <= set(facts_of("test"))
    assert demo_facts(20) == demo_facts(50)[:20]


def test_version_and_help() -> None:
    assert gate("--version").stdout.strip() == __version__
    shown = gate("--help").stdout
    for command in ("ask", "demo", "check", "explain", "serve"):
        assert command in shown


def test_ask_shows_a_question_asked_back() -> None:
    policy = str(Path(__file__).parents[1] / "examples" / "clarify" / "policy.yaml")
    shown = runner.invoke(app, ["ask", "Where is Tripoli?", "-p", policy]).stdout
    assert "clarify" in shown.splitlines()[0]
    assert "(ambiguous)" in shown
    said = json.loads(runner.invoke(app, ["ask", "Where is Tripoli?", "-p", policy, "--json"]).stdout)
    assert (said["action"], said["answered"], said["reason"]) == ("clarify", False, "ambiguous")
