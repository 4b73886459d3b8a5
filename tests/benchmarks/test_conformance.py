"""The quality benchmark on a small folder of its own: it reads what is there, and says what it leaves out."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import quality
from tests.benchmarks.recorded import Group, groups_of


def row(rng: random.Random, place: int, **changes: Any) -> dict[str, Any]:
    """A row in which samples agree more often when the answer is right."""
    right = rng.random() < 0.6
    says = [{"text": "yes" if rng.random() < (0.9 if right else 0.4) else f"no {n}"} for n in range(5)]
    made = {
        "id": f"r{place}", "dataset": "made", "model": "m", "question": f"Is {place} so?", "context": None,
        "references": ["yes"], "answer": "yes", "samples": says, "verbalized": None, "correct": right,
        "extra": {"label_source": "made up"},
    }  # fmt: skip
    return made | changes


def write(path: Path, rows: list[Any]) -> None:
    text = "".join(json.dumps(one) + "\n" for one in rows)
    with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8") as file:
        file.write(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = random.Random(4)
    write(tmp_path / "full.jsonl.gz", [row(rng, place) for place in range(160)])
    bare = [{"id": n, "answer": "yes", "correct": rng.random() < 0.5} for n in range(120)]
    write(tmp_path / "bare.jsonl", bare)
    write(tmp_path / "few.jsonl", [row(rng, place) for place in range(20)])
    write(tmp_path / "unlabelled.jsonl", [row(rng, place, correct=None) for place in range(120)])
    odd = [row(rng, n, extra=None, samples=None, question="", verbalized="?", context=7) for n in range(120)]
    write(tmp_path / "odd.jsonl", [*odd, 5, None, []])
    return tmp_path


def test_what_can_be_measured_is_and_what_cannot_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quality, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["quality", str(folder), "--no-peers"])
    quality.main()
    made = json.loads((tmp_path / "build" / "bench-quality.json").read_text())
    sets = {one["file"]: one for one in made["sets"]}
    assert set(sets) == {"full", "bare", "odd"}
    assert sets["full"]["combined"]["auroc"] > 0.75
    assert sets["full"]["signals"]["vote_share"]["n"] == 160
    assert "vote_share" not in sets["bare"]["signals"]
    assert sets["bare"]["combined"]["n"] == 120
    assert [reason.split(":")[0].split(" /")[0] for reason in made["skipped"]] == ["few", "unlabelled"]
    assert "full / m" in capsys.readouterr().out


def test_the_label_is_hidden_from_what_is_measured(folder: Path) -> None:
    """Turning every label round changes no reading."""
    groups = [group for group in groups_of(folder, ["full"]) if isinstance(group, Group)]
    turned = Group(
        "full", "full", tuple({**one, "correct": not one["correct"], "references": ["x"]} for one in groups[0].rows)
    )
    one, other = groups[0].read(), turned.read()
    assert [a.vector for a in one.answers] == [a.vector for a in other.answers]
    assert [a.correct for a in one.answers] == [not a.correct for a in other.answers]


def test_no_question_is_both_learned_from_and_judged(folder: Path) -> None:
    group = next(group for group in groups_of(folder, ["full"]) if isinstance(group, Group))
    doubled = Group(group.name, group.file, (*group.rows, *group.rows)).read().answers
    fold = quality.folds(doubled)
    assert dict.fromkeys({a.question_id for a in doubled}, 1) == {
        question: len({int(f) for f, a in zip(fold, doubled, strict=True) if a.question_id == question})
        for question in {a.question_id for a in doubled}
    }
