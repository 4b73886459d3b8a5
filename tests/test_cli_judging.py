"""The offline commands that judge a policy, run as a user runs them: over a collection, and over a log."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.commands import Folder, changed, check_help, check_refused, gate
from tests.tuning.logs import labels_in

# --- over a collection -------------------------------------------------------------------------------------------


def test_a_tuned_policy_runs_is_judged_and_reported(made: Folder, tmp_path: Path) -> None:
    assert gate("check", made / "mine.yaml").code == 0
    fresh = gate("eval", made / "mine.yaml", "--on", made / "c.db", "--json").json
    assert fresh["split"] == "test", "a fifth is left for it where nothing else was said"
    one = gate("eval", made / "mine.yaml", "--on", made / "c.db", "--split", "certify", "--json").json
    (found,) = one["policies"].values()
    assert one["split"] == "certify"
    assert one["comparisons"] == fresh["comparisons"] == []
    parts = {
        name: gate("eval", made / "mine.yaml", "--on", made / "c.db", "--split", name, "--json").json
        for name in ("fit", "all")
    }
    sizes = {
        name: next(iter(each["policies"].values()))["n"]
        for name, each in (parts | {"certify": one, "test": fresh}).items()
    }
    assert sizes["fit"] + sizes["certify"] + sizes["test"] == sizes["all"] == 120
    assert 10 <= sizes["test"] <= 38  # 24 expected; three standard deviations
    tuned = json.loads((made / "mine.tuning.json").read_text())
    assert (found["n"], found["answered"], found["wrong"]) == tuple(
        tuned["certificate"][name] for name in ("n", "answered", "errors")
    )
    page = tmp_path / "page.html"
    assert gate("report", made / "mine.yaml", "--on", made / "c.db", "-o", page).out.startswith("written: ")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "the test split of c.db" in page.read_text(encoding="utf-8")


def test_a_report_may_answer_with_one_object_and_says_when_its_questions_are_no_fresh_ones(
    made: Folder, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    ran = gate("report", made / "mine.yaml", "--on", made / "c.db", "-o", page, "--split", "certify", "--json")
    assert (ran.code, ran.json) == (0, {"written": str(page), "split": "certify"})
    assert "the certify split of c.db (these questions chose and certified policies" in page.read_text(encoding="utf-8")


def test_where_no_question_was_kept_for_tests_the_certify_split_is_judged_on_and_it_is_said(
    made: Folder, tmp_path: Path
) -> None:
    shutil.copy(made / "c.db", tmp_path)
    changed(tmp_path / "c.db", "UPDATE meta SET value = '[0.4, 0.6]' WHERE name = 'shares'")
    shown = gate("eval", made / "mine.yaml", "--on", tmp_path / "c.db")
    assert "certify split" in shown.out
    assert "only a test split judges them afresh" in shown.out


def test_two_policies_stand_side_by_side(made: Folder) -> None:
    ran = gate("eval", "cost-saver", made / "mine.yaml", "--on", made / "c.db", "--split", "all", "--json")
    (pair,) = ran.json["comparisons"]
    assert list(ran.json["policies"]) == ["cost-saver", str(made / "mine.yaml")] == [pair["first"], pair["second"]]
    assert pair["n"] == 120
    shown = gate("eval", "cost-saver", made / "mine.yaml", "--on", made / "c.db")
    assert shown.code == 0
    for part in ("test split", "coverage", "wrong among answers", "second less first"):
        assert part in shown.out
    assert "afresh" not in shown.out


# --- over a log --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [True, False])
def test_a_log_of_questions_asked_is_replayed(tmp_path: Path, text: bool) -> None:
    log = tmp_path / "log.jsonl"
    for question in ("Where is Lagos?", "Where is Paderborn?"):
        assert gate("ask", question, "--trace", log, *(["--text"] if text else [])).code == 0
    ran = gate("replay", "balanced", log, "--json")
    assert (ran.code, ran.json["judged"], ran.json["changed"], ran.json["not_judged"]) == (0, 2, 0, {})
    assert ran.json["drift"] is None
    shown = gate("replay", "strict", log)
    assert shown.code == 0
    assert "certificate" not in shown.err, "it is judged as if its certificate held"
    assert "decisions judged" in shown.out
    ids = [json.loads(line)["id"] for line in log.read_text().splitlines()]
    labels = labels_in(
        tmp_path / "labels.jsonl", [{"id": ids[0], "correct": "yes"}, {"id": "of another", "correct": 0}]
    )
    checked = gate("replay", "balanced", log, "--labels", labels)
    assert "1 labels are of decisions that are not in this log" in checked.out
    assert "answers audited" in checked.out


# --- help, and bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["eval", "replay", "report"])
def test_help_fills_the_line_and_says_what_each_option_is_for(command: str) -> None:
    check_help(command)


BAD: list[tuple[str, str]] = [
    ("eval cost-saver --on {log.jsonl}", "log.jsonl: this file is no collection"),
    ("eval cost-saver --on {c.db} --split tset", "unknown split 'tset'; did you mean 'test'?"),
    ("eval cost-saver --on {no_tests.db} --split test", "no labelled question is in the split 'test': name another"),
    ("eval cost-saver --on {ungraded.db}", "ungraded.db: no answer has a label: run 'gate grade'"),
    ("report cost-saver --on {ungraded.db} -o {new}.html", "ungraded.db: no answer has a label: run 'gate grade'"),
    ("eval balanced --on {c.db}", "questions cannot be judged under 'balanced': this cannot be told from"),
    ("eval {uncalibrated.yaml} --on {c.db}", "unknown calibrator 'none.calibrator.json'"),
    ("replay cost-saver {c.db}", "c.db: this is a collection, where a decision log is wanted"),
    ("replay cost-saver {questions.jsonl}", "questions.jsonl:1: not a decision of a log: it has no 'steps'"),
    ("replay cost-saver {cut.jsonl}", "cut.jsonl:1: not a decision of a log"),
    ("replay cost-saver {empty.jsonl}", "no decision can be judged: the log is empty"),
    ("replay cost-saver {new}.jsonl", "cannot be read: No such file"),
    ("replay cost-saver {log.jsonl}", "no decision can be judged: it was logged without the signal"),
    ("replay cost-saver {log.jsonl} --labels {strangers.jsonl}", "none of the 1 labels bears the id of a decision"),
    ("report cost-saver --on {log.jsonl} -o {new}.html", "log.jsonl: this file is no collection"),
    ("report cost-saver --on {c.db} -o {stands.html}", "stands.html: this file exists and is not written over"),
    ("report cost-saver --on {c.db} -o {folder}", "a folder of this name stands there"),
    ("report cost-saver --on {c.db} -o {new}.html --split some", "unknown split 'some'"),
]


@pytest.mark.parametrize(("command", "complaint"), BAD, ids=[command for command, _ in BAD])
def test_bad_input_is_one_line_with_the_fix_and_changes_nothing(
    command: str, complaint: str, made: Folder, tmp_path: Path
) -> None:
    check_refused(command, complaint, made, tmp_path)
