"""The offline commands that make a policy, run as a user runs them: from a file of questions to a certified policy."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.cli import app
from gate.tuning.collection import Collection, Label
from tests.commands import AS_BY_A_MODEL, Folder, changed, check_help, check_refused, contents, gate, lines, runner
from tests.tuning.logs import labels_in, policy_in, served, written

# --- from questions to a policy ----------------------------------------------------------------------------------


@pytest.fixture
def said(made: Folder) -> dict[str, Any]:
    return json.loads((made / "said.json").read_text())  # type: ignore[no-any-return]


def test_each_step_says_what_it_did_as_one_object(said: dict[str, Any]) -> None:
    assert (said["import"]["rows"], said["import"]["written"], said["import"]["duplicates"]) == (122, 120, 1)
    assert said["import"]["unusable"] == {"neither messages nor a question": {"count": 1, "first": [122]}}
    assert (said["collect"]["questions"], said["collect"]["finished"], said["collect"]["failed"]) == (120, 120, 0)
    assert said["collect"]["added"] == {"new": 120, "known": 0, "repeated": 0}
    graded = said["grade"]
    assert graded["right"] + graded["wrong"] == graded["answers"] > 120
    tuned = said["tune"]
    assert tuned["certified"]
    assert tuned["certificate"]["bound"] <= 0.1
    assert sum(test["chosen"] for test in tuned["tests"]) == 1


def test_collecting_again_asks_nothing_again(made: Folder, tmp_path: Path) -> None:
    shutil.copy(made / "c.db", tmp_path)
    again = gate("collect", made / "questions.jsonl", "-p", "cost-saver", "-o", tmp_path / "c.db")
    assert again.code == 0
    assert "120 of 120 questions have full evidence" in again.out


def test_a_cap_leaves_questions_to_do_and_says_so(made: Folder, tmp_path: Path) -> None:
    capped = gate(
        "collect", made / "questions.jsonl", "-p", "cost-saver", "-o", tmp_path / "new" / "c.db", "--max-calls", 9
    )
    assert capped.code == 1
    assert "stopped: the cap on calls" in capped.out
    done = gate("collect", made / "questions.jsonl", "-p", "cost-saver", "-o", tmp_path / "new" / "c.db", "--json",
                "--max-calls", 20).json  # fmt: skip
    assert 0 < done["finished"] < 120
    assert done["spent"]["calls"] <= 20


def test_labels_of_people_come_back_and_count_the_graders_errors(made: Folder, tmp_path: Path) -> None:
    shutil.copy(made / "c.db", tmp_path)
    sheet, mended = tmp_path / "labels.csv", tmp_path / "mended.csv"
    assert gate("grade", tmp_path / "c.db", "--grader", "exact", "--export", sheet).code == 0
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["correct"] for row in rows} == {"yes", "no"}
    for row in rows[:6]:
        row["correct"] = "no" if row["correct"] == "yes" else "1"
    for row in rows[6:30]:
        row["grader"] = "Ada"
    for row in rows[40:]:
        row["correct"] = ""
    with mended.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    ran = gate("grade", tmp_path / "c.db", "--grader", "exact", "--labels", mended, "--json")
    assert (ran.code, ran.json["by_people"], ran.json["changed_by_people"]) == (0, 30, 6)
    judge = ran.json["judge"]
    assert judge["wrong"] + judge["right"] == 30
    assert judge["wrong_accepted"] + judge["right_rejected"] == 6
    shown = gate("grade", tmp_path / "c.db", "--grader", "exact").out
    assert "labelled by people: 30" in shown
    assert f"accepts {judge['wrong_accepted']} of {judge['wrong']} wrong answers" in shown


def test_without_a_grader_named_what_is_graded_stays(made: Folder, tmp_path: Path) -> None:
    shutil.copy(made / "c.db", tmp_path)
    with Collection.open(tmp_path / "c.db") as held:
        graded = [(row.example.id, answer, row.correct(answer)) for row in held.collected() for answer in row.labels]
        held.label({(id_, answer): Label(correct, "model") for id_, answer, correct in graded[2:]})
    changed(tmp_path / "c.db", "DELETE FROM labels WHERE grader LIKE '%exact%'")
    sheet = tmp_path / "labels.csv"
    assert gate("grade", tmp_path / "c.db", "--export", sheet).code == 0
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        graders = [row["grader"] for row in csv.DictReader(file)]
    assert (graders.count("auto"), set(graders)) == (2, {"auto", "model"})
    gate("grade", tmp_path / "c.db", "--grader", "contains", "--export", sheet, "--overwrite")
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        assert {row["grader"] for row in csv.DictReader(file)} == {"contains"}


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sample_goes_out_without_labels_grows_and_comes_back_as_what_a_judge_is_believed_by(
    made: Folder, tmp_path: Path
) -> None:
    c, sheet, filled = tmp_path / "c.db", tmp_path / "sample.csv", tmp_path / "filled.csv"
    shutil.copy(made / "c.db", c)
    changed(c, AS_BY_A_MODEL)
    tune = ("tune", c, "-p", "cost-saver", "-o", tmp_path / "new.yaml", "--thresholds-only", "--json")
    assert "--trust-judge" in gate(*tune).complaint
    assert gate("grade", c, "--sample", 20, "--export", sheet).code == 0
    few = cells(sheet)
    assert gate("grade", c, "--sample", 60, "--export", sheet, "--overwrite").code == 0
    rows = cells(sheet)
    assert (len(few), len(rows)) == (20, 60)
    assert rows[:20] == few
    assert {(row["correct"], row["grader"], row["note"], row["suspicion"]) for row in rows} == {("", "", "", "")}
    assert "--trust-judge" in gate(*tune).complaint, "nobody has labelled it yet"

    with Collection.open(c) as held:
        truth = {(row.example.id, answer): row.correct(answer) for row in held.collected() for answer in row.labels}
    with filled.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"correct": "yes" if truth[row["id"], row["answer"]] else "no"} for row in rows)
    back = gate("grade", c, "--labels", filled, "--json").json
    assert (back["by_people"], back["changed_by_people"]) == (60, 0)
    wrong = sum(not truth[row["id"], row["answer"]] for row in rows)
    assert 0 < wrong < 60
    assert back["judge"] == {"wrong": wrong, "wrong_accepted": 0, "right": 60 - wrong, "right_rejected": 0}
    ran = gate(*tune)
    assert ran.code in (0, 3)
    believed, trusted = ran.json, gate(*tune, "--trust-judge", "--overwrite").json
    assert [test["bound"] for test in believed["tests"]] == [test["bound"] for test in trusted["tests"]], (
        "who has a sample is held to it"
    )


def test_a_models_labels_are_taken_for_the_truth_where_that_is_asked_for(made: Folder, tmp_path: Path) -> None:
    shutil.copy(made / "c.db", tmp_path)
    changed(tmp_path / "c.db", AS_BY_A_MODEL)
    ran = gate("tune", tmp_path / "c.db", "-p", "cost-saver", "-o", tmp_path / "new.yaml", "--thresholds-only",
               "--trust-judge", "--json")  # fmt: skip
    assert ran.code == 0
    assert "by model, whose errors nobody counted" in ran.json["certificate"]["labels"]
    exact = json.loads((made / "mine.tuning.json").read_text())["certificate"]
    assert ran.json["certificate"]["bound"] == exact["bound"]


def test_questions_without_references_are_collected_where_people_are_to_judge(made: Folder, tmp_path: Path) -> None:
    questions = lines(tmp_path / "q.jsonl", {"question": "Where is Lagos?"}, {"question": "Where is Paderborn?"})
    command = ("collect", questions, "-p", "cost-saver", "-o", tmp_path / "c.db")
    assert "q.jsonl:1: no column holds the references" in gate(*command).complaint
    ran = gate(*command, "--without-references", "--json")
    assert (ran.code, ran.json["finished"], ran.json["added"]["new"]) == (0, 2, 2)
    graded = gate("grade", tmp_path / "c.db", "--json").json
    assert (graded["open"], graded["right"] + graded["wrong"]) == (graded["answers"], 0)


def test_suspects_are_listed_for_people(made: Folder, tmp_path: Path) -> None:
    shutil.copy(made / "c.db", tmp_path)
    sheet = tmp_path / "suspects.csv"
    ran = gate("grade", tmp_path / "c.db", "--grader", "exact", "-p", "cost-saver", "--suspects", sheet)
    assert ran.code == 0
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        listed = list(csv.DictReader(file))
    assert f"{len(listed)} suspect or open labels in" in ran.out
    assert 0 < len(listed) < 120
    assert all(float(row["suspicion"]) > 0 for row in listed)


# --- logs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("even", [True, False])
def test_a_log_without_text_and_its_audits_make_a_certified_policy(tmp_path: Path, even: bool) -> None:
    file = policy_in(tmp_path)
    file.path.write_text(file.path.read_text().replace("max_error: 0.15", "max_error: 0.2"))
    log, right, p = served(1_500)
    chance = np.full(1_500, 0.8) if even else np.where(p >= 0.84, 0.5, 0.9)
    picked = np.flatnonzero(np.random.default_rng(1).random(1_500) < chance)
    rows = ({"id": log[i]["id"], "correct": bool(right[i]), "probability": float(chance[i])} for i in picked)
    labels = labels_in(tmp_path / "labels.jsonl", rows)
    written(tmp_path / "log.jsonl", log)
    target = tmp_path / "tuned" / "mine.yaml"
    ran = gate("tune", tmp_path / "log.jsonl", "--labels", labels, "-p", file.path, "-o", target, "--json")
    assert ran.code == 0, ran.out
    held = ran.json["certificate"]
    assert held["labels"] == f"{len(picked)} decisions audited{'' if even else ', with unequal chances'}"
    assert held["bound"] <= 0.2
    assert ran.json["left_out"] == f"{1_500 - len(picked)} decisions: nobody checked it"
    done = gate("replay", target, tmp_path / "log.jsonl", "--labels", labels, "--json").json
    out = {each["id"] for each in log if each["action"] == "answer"}
    assert done["recorded"] == {"answer": len(out), "abstain": 1_500 - len(out)}
    assert done["evaluation"]["risk"]["value"] < 0.2
    assert done["drift"]["audited_answers"] == sum(log[i]["id"] in out for i in picked)
    assert not done["drift"]["alarm"]


def test_a_promise_that_none_keeps_is_exit_3_and_writes_nothing(tmp_path: Path) -> None:
    file = policy_in(tmp_path)
    file.path.write_text(file.path.read_text().replace("max_error: 0.15", "max_error: 0.01"))
    log, right, _ = served(400)
    labels = labels_in(tmp_path / "labels.jsonl", [{"id": log[i]["id"], "correct": bool(right[i])} for i in range(400)])
    written(tmp_path / "log.jsonl", log)
    before = contents(tmp_path)
    ran = gate("tune", tmp_path / "log.jsonl", "--labels", labels, "-p", file.path, "-o", tmp_path / "new.yaml")
    assert ran.code == 3
    assert "no policy keeps this promise (at most 1.00% wrong): the best bound is" in " ".join(ran.out.split())
    assert contents(tmp_path) == before


def test_a_policy_may_be_tuned_to_a_promise_that_its_old_certificate_does_not_back(tmp_path: Path) -> None:
    file = policy_in(tmp_path)
    held = "{alpha: 0.3, delta: 0.05, n: 9, answered: 9, errors: 0, bound: 0.29, segment: x, date: x, fingerprints: {}}"
    file.path.write_text(file.path.read_text() + f"certificate: {held}\n")
    assert "does not back max_error 0.15: tune again" in gate("check", file.path).complaint
    log, right, _ = served(400)
    written(tmp_path / "log.jsonl", log)
    labels = labels_in(tmp_path / "labels.jsonl", [{"id": log[i]["id"], "correct": bool(right[i])} for i in range(400)])
    assert gate("replay", file.path, tmp_path / "log.jsonl").code == 0
    ran = gate("tune", tmp_path / "log.jsonl", "--labels", labels, "-p", file.path, "-o", tmp_path / "new.yaml")
    assert ran.code in (0, 3)


# --- help --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["import", "collect", "grade", "tune"])
def test_help_fills_the_line_and_says_what_each_option_is_for(command: str) -> None:
    check_help(command)


def test_exit_codes_are_said() -> None:
    def told(*command: str) -> str:
        return " ".join(runner.invoke(app, [*command, "--help"]).stdout.replace("│", " ").split())

    for part in ("0 done", "1 an upstream failed", "2 what was asked for", "3 from 'gate tune'"):
        assert part in told()
    assert "Exits 1 when questions are left to do" in told("collect")
    assert "Exits 1 when answers could not be judged" in told("grade")
    assert "Exits 3, and writes nothing" in told("tune")


def test_help_and_misspelt_options_are_answered_without_the_heavy_libraries() -> None:
    code = """
import sys
from gate.cli import app
for arguments in (["--help"], ["tune", "--help"], ["tune", "--nonsense"]):
    try:
        app(arguments)
    except SystemExit:
        pass
print("loaded:", *(name for name in sys.argv[1:] if name in sys.modules))
"""
    heavy = ["scipy", "matplotlib", "pyarrow", "numpy", "httpx", "aiohttp", "onnxruntime", "starlette", "uvicorn"]
    run = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.splitlines()[-1].strip() == "loaded:"


@pytest.mark.parametrize(
    ("hidden", "command", "extra"),
    [
        ("scipy", ("tune", "{c}", "-p", "cost-saver", "-o", "{new}.yaml"), "tune"),
        ("scipy", ("grade", "{c}", "-p", "cost-saver", "--suspects", "{new}.csv"), "tune"),
        ("matplotlib", ("report", "cost-saver", "--on", "{c}", "-o", "{new}.html"), "tune"),
        ("pyarrow", ("import", "{parquet}", "{new}.jsonl"), "parquet"),
        ("pyarrow", ("collect", "{parquet}", "-p", "cost-saver", "-o", "{new}.db"), "parquet"),
    ],
)
def test_a_missing_extra_is_named_with_the_line_that_installs_it(
    hidden: str, command: tuple[str, ...], extra: str, made: Folder, tmp_path: Path
) -> None:
    parquet = tmp_path / "q.parquet"
    parquet.write_bytes(b"PAR1")
    names = {"c": made / "c.db", "new": tmp_path / "new", "parquet": parquet}
    code = "import sys; sys.modules[sys.argv.pop(1)] = None\nfrom gate.cli import main\nmain()"
    arguments = [each.format(**names) for each in command]
    run = subprocess.run(
        [sys.executable, "-c", code, hidden, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 2, run.stderr
    assert f"pip install 'gate-llm[{extra}]'" in run.stderr
    assert repr(hidden) in run.stderr
    assert run.stderr.splitlines()[-1].startswith("gate: ")
    assert "Traceback" not in run.stderr


# --- bad input ---------------------------------------------------------------------------------------------------


BAD: list[tuple[str, str]] = [
    ("import {questions.jsonl} {questions.jsonl}", "the log would be written over by what is made of it"),
    ("import {questions.jsonl} {stands.yaml}", "stands.yaml: this file exists and is not written over: move it, or"),
    ("import {no_question.jsonl} {new}.jsonl", "no row of this log can be used: neither messages nor a question"),
    ("import {empty.jsonl} {new}.jsonl", "empty.jsonl: this file holds no rows"),
    ("import {new}.jsonl {new}.out.jsonl", "cannot read this file: No such file"),
    ("import {c.db} {new}.jsonl", "cannot tell what this file is"),
    ("collect {no_question.jsonl} -p cost-saver -o {new}.db", "no_question.jsonl:1: no column holds the question"),
    (
        "collect {no_references.jsonl} -p cost-saver -o {new}.db",
        "references.jsonl:1: no column holds the references",
    ),
    ("collect {one_reference.jsonl} -p cost-saver -o {new}.db", "one_reference.jsonl:2: there is no reference answer"),
    ("collect {two_splits.jsonl} -p cost-saver -o {new}.db", "two_splits.jsonl:2: the same question stands in"),
    ("collect {cut.jsonl} -p cost-saver -o {new}.db", "cut.jsonl:2: the last line is cut off"),
    ("collect {mixed.csv} -p cost-saver -o {new}.db", "mixed.csv:3: byte 0xf9"),
    ("collect {empty.jsonl} -p cost-saver -o {new}.db", "empty.jsonl: this file holds no rows"),
    ("collect {questions.jsonl} -p cost-saver -o {log.jsonl}", "log.jsonl: this file is no collection"),
    ("collect {questions.jsonl} -p cost-saver -o {folder}", "cannot use this collection"),
    ("collect {questions.jsonl} -p balanced -o {c.db}", "this collection was made with another"),
    ("collect {questions.jsonl} -p blanced -o {new}.db", "unknown policy 'blanced'; did you mean 'balanced'?"),
    ("grade {new}.db", "there is no such collection: 'gate collect' makes one"),
    ("grade {log.jsonl}", "log.jsonl: this file is no collection"),
    ("grade {c.db} --grader exactly", "unknown grader 'exactly'; did you mean 'exact'?"),
    ("grade {c.db} --option tolerance", "an option is given as name=value, not as 'tolerance'"),
    ("grade {c.db} --option tolerance=much --grader number", "grader 'number', option 'tolerance'"),
    ("grade {c.db} --suspects {new}.csv", "name the policy that has them with --policy"),
    ("grade {c.db} --export {stands.csv}", "stands.csv: this file exists and is not written over"),
    ("grade {c.db} --sample 9", "--sample says how many answers to draw: name the file to write them to with --export"),
    ("grade {c.db} --sample 9 --export {stands.csv}", "stands.csv: this file exists and is not written over"),
    ("grade {c.db} --labels {labels.jsonl}", "labels.jsonl:1: no column holds the answer"),
    ("grade {c.db} --labels {unknown_answer.jsonl}", "1 labels are of answers that are not in this collection"),
    ("tune {c.db} -p cost-saver -o {stands.yaml}", "stands.yaml: this file exists: name another with --out"),
    ("tune {c.db} -p cost-saver -o {new}", "the name of a policy file must end in .yaml"),
    ("tune {c.db} -p cost-saver -o {new}.yaml --labels {labels.jsonl}", "a collection holds its labels"),
    (
        "tune {c.db} -p cost-saver -o {new}.yaml --fit-share 0.3",
        "a policy was tuned on it with shares of 0.35 and",
    ),
    ("tune {c.db} -p cost-saver -o {new}.yaml --fit-share .9 --certify-share .9", "together: they may be 1 at most"),
    ("tune {c.db} -p balanced -o {new}.yaml", "did not make: collect with a policy that has this evidence"),
    ("tune {log.jsonl} -p cost-saver -o {new}.yaml", "log.jsonl: a decision log says nothing of what was right: give"),
    ("tune {log.jsonl} -p cost-saver -o {new}.yaml --labels {strangers.jsonl}", "none of the 1 labels can be used"),
    ("tune {log.jsonl} -p cost-saver -o {new}.yaml --labels {chance.jsonl}", "chance.jsonl:1: the probability 2 is no"),
    ("tune {log.jsonl} -p cost-saver -o {new}.yaml --labels {labels.jsonl}", "it was logged without the signal"),
    ("tune {questions.jsonl} -p cost-saver -o {new}.yaml --labels {labels.jsonl}", "it has no 'steps'"),
    ("tune {new}.db -p cost-saver -o {new}.yaml", "cannot be read: No such file"),
    ("tune {ungraded.db} -p cost-saver -o {new}.yaml", "ungraded.db: no answer has a label: run 'gate grade'"),
    ("tune {judged.db} -p cost-saver -o {new}.yaml", "nobody knows how often it errs: draw some for people to label"),
    ("tune {one_class.db} -p cost-saver -o {new}.yaml", "too little to learn from"),
]


@pytest.mark.parametrize(("command", "complaint"), BAD, ids=[command for command, _ in BAD])
def test_bad_input_is_one_line_with_the_fix_and_changes_nothing(
    command: str, complaint: str, made: Folder, tmp_path: Path
) -> None:
    check_refused(command, complaint, made, tmp_path)
