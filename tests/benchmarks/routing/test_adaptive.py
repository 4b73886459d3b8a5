"""The benchmarks of routing on small folders of their own: they read what is there, and say what is missing."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.routing import adaptive
from tests.benchmarks.routing.adaptive import ALL, CHOICES, SHOWN, Row, drawn_by, logistic, sets_of, without_repeats


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw, rows = random.Random(3), []
    for place in range(220):
        right = draw.random() < 0.6
        says = ["Yes." if draw.random() < (0.9 if right else 0.5) else f"no {n}" for n in range(8)]
        samples = [{"text": "yes", "temperature": 0.0}, *({"text": text} for text in says)]
        rows.append(
            {"question": f"q{place % 110}", "model": "m", "answer": "yes", "samples": samples, "correct": right}
        )
    rows.append({**rows[0], "samples": rows[0]["samples"][:4]})  # too few
    path = tmp_path / "uq_nlg_demo.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def test_stopping_early_is_measured(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["adaptive", "--data", str(folder)])
    monkeypatch.setattr(adaptive, "RESAMPLES", 5)
    adaptive.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 1 + len(SHOWN) + 1
    assert "n 220" in lines[2]
    assert "all, 8" in lines[2]


def test_no_way_draws_more_than_there_are_or_counts_what_it_did_not_draw(folder: Path) -> None:
    (rows,) = sets_of(folder).values()
    right = np.array([row.right for row in rows])
    everything = drawn_by(ALL, rows)
    assert (everything.drawn == 8).all()
    for way in (*SHOWN, *CHOICES):
        drawn = drawn_by(way, rows)
        assert (drawn.drawn >= 2).all()
        assert (drawn.drawn <= max(2, 8 * way.part)).all()
        for row, agreeing, votes in zip(rows, drawn.agreeing, drawn.drawn, strict=True):
            assert agreeing == row.answers[: int(votes)].count("0")
    p = logistic(everything, right, np.arange(len(rows)) % 2 == 0)
    assert ((p > 0) & (p < 1)).all()


def test_without_its_files_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["adaptive", "--data", str(tmp_path)])
    adaptive.main()
    assert capsys.readouterr().out.startswith("skipped: ")


def test_samples_that_come_again_are_left_out() -> None:
    draw = random.Random(1)
    firsts = [tuple(draw.choice("012") for _ in range(8)) for _ in range(40)]
    whole, part, none = ([Row("q", first + first[:n], True) for first in firsts] for n in (8, 3, 0))
    assert [without_repeats(rows, len(rows[0].answers)) for rows in (whole, part, none)] == [8, 8, 8]
    alike = [Row("q", ("0",) * 16, True) for _ in range(40)]
    assert without_repeats(alike, 16) == 16  # that all agree is no sign of it
