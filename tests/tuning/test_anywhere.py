"""Work that any process can do: the same as here, and only with the same policy and labels."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.assemble import assemble
from gate.errors import ConfigError
from gate.log.jsonl import TraceFile
from gate.pocket.world import facts_of, unit_hash
from gate.policy import find, read
from gate.traces import TraceRecord
from gate.tuning.anywhere import Judged, Signals
from gate.tuning.audits import read_audits
from gate.tuning.parts import map_records
from gate.tuning.replay import Replayed, replay
from gate.types import Question
from tests.commands import gate
from tests.tuning.logs import labels_in


@pytest.fixture(scope="module")
def traces() -> Iterator[list[TraceRecord]]:
    gateway = assemble(read(find("balanced"), certificate=False))
    facts = sorted(facts_of("test"), key=lambda fact: unit_hash(fact.key, "anywhere"))[:40]
    yield [gateway.ask(Question.from_text(fact.question))[1] for fact in facts]
    gateway.close()


@pytest.fixture
def log(tmp_path: Path, traces: list[TraceRecord]) -> Path:
    """Half with text, half without."""
    for place, record in enumerate(traces):
        TraceFile(tmp_path / "log.jsonl", text=place % 2 == 0).append(record)
    return tmp_path / "log.jsonl"


@pytest.fixture
def labels(tmp_path: Path, traces: list[TraceRecord]) -> Path:
    rows = ({"id": record.id, "correct": place % 3 > 0} for place, record in enumerate(traces[:20]))
    return labels_in(tmp_path / "labels.jsonl", rows)


def same(one: Replayed, other: Replayed) -> bool:
    """To the last bit, in the same order."""
    for part in dataclasses.fields(one.judgements):
        a, b = (getattr(each.judgements, part.name) for each in (one, other))
        assert (
            repr(a) == repr(b)
            if part.name == "signals"
            else (a.dtype, a.tolist().__repr__())
            == (
                b.dtype,
                b.tolist().__repr__(),
            )
        ), part.name
    told = ("recorded", "changed", "gaps", "strangers")
    return all(getattr(one, name) == getattr(other, name) for name in told)


def test_a_replay_in_parts_is_that_of_the_whole(log: Path, labels: Path, tmp_path: Path) -> None:
    policy = find("strict")
    gateway, audits = assemble(read(policy, certificate=False)), read_audits(labels)
    here = replay(gateway, log, audits)
    work = Judged.by(policy, labels)
    for _ in range(2):  # the second time out of the folder alone
        assert same(replay(gateway, log, audits, work=work, folder=tmp_path / "parts"), here)
    assert len(here.judgements) > 0


def test_it_goes_by_pickle_and_knows_what_it_depends_on(tmp_path: Path, labels: Path) -> None:
    strict, balanced = find("strict"), find("balanced")
    work = Judged.by(strict, labels)
    assert pickle.loads(pickle.dumps(work)) == work
    marks = {work.fingerprint, Judged.by(strict, None).fingerprint, Judged.by(balanced, labels).fingerprint}
    assert len({*marks, Signals.of(strict).fingerprint, Signals.of(balanced).fingerprint}) == 5
    labels.write_text(labels.read_text().replace("true", "false"))
    assert Judged.by(strict, labels) != work


def test_a_node_with_another_policy_does_no_work(log: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_bytes(find("balanced").read_bytes())
    (tmp_path / "balanced.calibrator.json").write_bytes(find("balanced").with_suffix(".calibrator.json").read_bytes())
    works = (Judged.by(mine, None), Signals.of(mine))
    mine.write_text(mine.read_text().replace("wrong: 1.0", "wrong: 1.5"))
    for work in works:
        with pytest.raises(ConfigError, match=r"mine\.yaml: this node has another policy"):
            list(map_records(log, work))


def test_signals_are_those_of_the_steps(log: Path, traces: list[TraceRecord], tmp_path: Path) -> None:
    rows = list(map_records(log, Signals.of(find("balanced")), folder=tmp_path / "parts", size=7))
    assert [row["id"] for row in rows] == [record.id for record in traces for _ in record.steps]
    steps = [(place, step) for place, record in enumerate(traces) for step in record.steps]
    for row, (place, step) in zip(rows, steps, strict=True):
        assert row["computed"] is (place % 2 == 0)
        assert row["signals"] == {reading.signal: reading.value for reading in step.signals.readings}
        assert (row["stage"], row["action"]) == (step.decision.stage.key, step.decision.action.value)
        assert row["p"] == (step.decision.confidence.p if step.decision.confidence else None)


def test_what_was_never_recorded_is_a_gap(tmp_path: Path, traces: list[TraceRecord]) -> None:
    TraceFile(tmp_path / "log.jsonl", text=True).append(dataclasses.replace(traces[0], tape=traces[0].tape[-1:]))
    (row,) = map_records(tmp_path / "log.jsonl", Signals.of(find("balanced")))
    assert row.keys() == {"id", "gap"}


def test_what_is_no_decision_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"id": "a", "steps": [{}]}\n')
    with pytest.raises(ConfigError, match=r"log\.jsonl:1: not a decision"):
        list(map_records(tmp_path / "log.jsonl", Signals.of(find("balanced"))))


def test_the_commands_say_the_same_with_parts_and_without(log: Path, labels: Path, tmp_path: Path) -> None:
    told = ["replay", "strict", log, "--labels", labels, "--json"]
    assert gate(*told).json == gate(*told, "--parts", tmp_path / "parts").json
    out, again = tmp_path / "signals.jsonl", tmp_path / "again.jsonl"
    ran = gate("signals", "balanced", log, "--out", out)
    assert ran.code == 0, ran.err
    said = gate("signals", "balanced", log, "--out", again, "--parts", tmp_path / "parts", "--json").json
    assert out.read_bytes() == again.read_bytes()
    assert said["rows"] == len(out.read_text().splitlines())
    assert "not on 'dask'" in gate("replay", "strict", log, "--on", "dask", "--parts", tmp_path / "p").complaint
