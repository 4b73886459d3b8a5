"""The offline commands as a user runs them, a collection that they made, and files to go wrong with."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from gate.cli import app
from gate.pocket.world import facts_of, unit_hash
from gate.types import Stage
from tests.tuning.logs import decision, step, written

Folder = Path
runner = CliRunner()
AS_BY_A_MODEL = "UPDATE labels SET grader = '\"model\"'"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line of an error."""
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("gate: ")
        return self.err.removeprefix("gate: ").rstrip("\n")


def gate(*arguments: object) -> Ran:
    result = runner.invoke(app, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """What the files hold; a database may be written to where it is read."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".db" not in path.name]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def changed(path: Path, statement: str, *values: object) -> None:
    """Put something into a database behind the back of all commands."""
    database = sqlite3.connect(path)
    database.execute(statement, values)
    database.commit()
    database.close()


def make(folder: Folder) -> None:
    """120 questions of the pocket world: imported, collected with the cheapest policy, graded, tuned on."""
    facts = sorted(facts_of("certify"), key=lambda fact: unit_hash(fact.key, "x"))[:120]
    lines(
        folder / "log.jsonl",
        *({"id": f.key, "question": f.question, "ideal": f.answer, "segment": f.relation} for f in facts),
        {"messages": [{"role": "user", "content": facts[0].question}]},
        {"nothing": "of use"},
    )
    ran = {
        "import": gate("import", folder / "log.jsonl", folder / "questions.jsonl", "--json"),
        "collect": gate("collect", folder / "questions.jsonl", "-p", "cost-saver", "-o", folder / "c.db", "--json"),
        "grade": gate("grade", folder / "c.db", "--grader", "exact", "--json"),
        "tune": gate(
            "tune", folder / "c.db", "-p", "cost-saver", "-o", folder / "mine.yaml", "--thresholds-only", "--json"
        ),
    }
    assert {name: each.code for name, each in ran.items()} == dict.fromkeys(ran, 0), ran
    (folder / "said.json").write_text(json.dumps({name: each.json for name, each in ran.items()}))


# --- bad input ---------------------------------------------------------------------------------------------------


def check_refused(command: str, complaint: str, made: Folder, folder: Folder) -> None:
    """That a command ends with one line which holds the complaint, and leaves every file as it was.

    In the command stand ``{c.db}`` for the file of that name, ``{folder}`` for where they are, ``{new}`` for none.
    """
    (folder / "bad").mkdir()
    files = _bad(made, folder / "bad") | {"new": folder / "new"}
    before = contents(folder / "bad")
    ran = gate(*re.sub(r"\{(.*?)\}", lambda found: str(files[found[1]]), command).split())
    assert ran.code == 2, (ran.out, ran.err)
    assert complaint in ran.complaint
    assert contents(folder / "bad") == before
    assert not [path for path in folder.glob("new*") if path.suffix != ".db"]


def _bad(made: Folder, folder: Folder) -> dict[str, Path]:
    for name, statement in (
        ("c", ""),
        ("ungraded", "DELETE FROM labels"),
        ("one_class", "UPDATE labels SET correct = 1"),
        ("judged", AS_BY_A_MODEL),
        ("no_tests", "UPDATE meta SET value = '[0.4, 0.6]' WHERE name = 'shares'"),
    ):
        shutil.copy(made / "c.db", folder / f"{name}.db")
        changed(folder / f"{name}.db", statement)
    for suffix in ("yaml", "csv", "html"):
        (folder / f"stands.{suffix}").write_text("mine")
    changed(folder / "foreign.db", "CREATE TABLE mine (x)")
    lagos = {"id": "a", "question": "Where is Lagos?"}
    lines(folder / "questions.jsonl", lagos | {"answers": ["Nigeria"]})
    lines(folder / "no_question.jsonl", {"id": "a", "asked": "Where is Lagos?"})
    lines(folder / "no_references.jsonl", lagos)
    lines(folder / "one_reference.jsonl", lagos | {"ideal": "Nigeria"}, {"id": "b", "question": "Who?", "ideal": ""})
    lines(
        folder / "two_splits.jsonl",
        lagos | {"split": "fit", "ideal": "Nigeria"},
        {"id": "b", "question": "where is Lagos", "split": "test", "ideal": "Nigeria"},
    )
    (folder / "cut.jsonl").write_text(json.dumps(lagos | {"ideal": "Nigeria"}) + '\n{"id": "b", "que')
    (folder / "mixed.csv").write_bytes("id,question,ideal\na,Où?,x\n".encode() + "b,Où?,x\n".encode("cp1252"))
    (folder / "empty.jsonl").write_text("")
    written(folder / "log.jsonl", [decision("a", [step(Stage("small"), "answer", {"token_logprob_sum": -0.1})])])
    lines(folder / "labels.jsonl", {"id": "a", "correct": True})
    lines(folder / "strangers.jsonl", {"id": "z", "correct": True})
    lines(folder / "unknown_answer.jsonl", {"id": "country:Lagos", "answer": "nowhere", "correct": "no"})
    lines(folder / "chance.jsonl", {"id": "a", "correct": True, "probability": 2})
    shipped = (Path(__file__).parents[1] / "policies" / "cost-saver.yaml").read_text()
    (folder / "uncalibrated.yaml").write_text(
        re.sub("(?m)^calibrator: .*", "calibrator: none.calibrator.json", shipped)
    )
    return {path.name: path for path in folder.iterdir()} | {"folder": folder}


# --- help --------------------------------------------------------------------------------------------------------


def check_help(command: str) -> None:
    """That the help of a command fills its lines, and has no options that are another's opposite."""
    shown = runner.invoke(app, [command, "--help"], env={"COLUMNS": "100"}).stdout
    for paragraph in "\n".join(line.strip() for line in shown.partition("╭")[0].splitlines()).split("\n\n"):
        for line, following in pairwise(paragraph.split("\n")):
            if line and following:
                assert len(f"{line} {following.split()[0]}") > 97, f"ends before its end: {line!r}"
    assert "--no-" not in shown
