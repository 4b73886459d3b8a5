"""What is measured of the decorator, on a few calls: every kind of function, judged in full."""

from __future__ import annotations

from pathlib import Path

import gate
from tests.benchmarks.decorator import overhead


def test_every_kind_is_measured_and_held_against_its_aim(tmp_path: Path) -> None:
    rows = overhead.measured(tmp_path, rounds=1, calls=2)
    assert {row.samples for row in rows} == {0, overhead.SAMPLES} == {*overhead.AIMS}
    assert all(row.median > 0 for row in rows), "judging takes longer than answering at once"
    table = overhead.table(rows)
    assert all(f"| {row.kind} | {row.answer} |" in table for row in rows)
    assert [row["met"] for row in overhead.told(rows)] == [row.met for row in rows]


def test_what_is_measured_is_judged_by_all_its_tokens_and_samples(tmp_path: Path) -> None:
    guarded = gate.guard(overhead.write_policy(tmp_path, overhead.SAMPLES), samples="again")(overhead.reply)
    decided = guarded.decided(overhead.QUESTION)
    assert decided.answered
    assert [reading.missing for reading in decided.outcome.steps[-1].signals.readings] == [None] * 4
    assert (guarded.calls.total, guarded.calls.again) == (1 + overhead.SAMPLES, overhead.SAMPLES)
