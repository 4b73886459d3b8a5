"""A log judged in a real Ray cluster gives what it gives here, to the last bit and in the same order; and a run that
was killed goes on where it was. Run in a network of its own by `test_ray_data`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gate.assemble import assemble
from gate.errors import ConfigError
from gate.log.jsonl import to_json, without_text
from gate.pocket.world import facts_of, unit_hash
from gate.policy import find, read
from gate.tuning.anywhere import Judged, Signals
from gate.tuning.audits import read_audits
from gate.tuning.parts import map_records
from gate.tuning.replay import replay
from gate.types import Question
from tests.commands import gate
from tests.integrations.own_network import ROOT, ray_cluster
from tests.tuning.logs import labels_in
from tests.tuning.test_anywhere import same
from tests.tuning.test_collect_parts import N, held_in, kill_midway, questions_in, said_of

TIMES = 12
"""How often the same decisions stand in the log, under other ids."""


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with ray_cluster():
        yield


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    gateway = assemble(read(find("balanced"), certificate=False))
    facts = sorted(facts_of("test"), key=lambda fact: unit_hash(fact.key, "cluster"))[:40]
    records = [gateway.ask(Question.from_text(fact.question))[1] for fact in facts]
    gateway.close()
    with path.open("wb") as file:
        for time_ in range(TIMES):
            for place, record in enumerate(records):
                line = json.loads(to_json(record if place % 2 else without_text(record)))
                file.write(json.dumps({**line, "id": f"{line['id']}-{time_}"}).encode() + b"\n")
    return path


@pytest.fixture(scope="module")
def labels(log: Path) -> Path:
    ids = [json.loads(line)["id"] for line in log.read_text().splitlines()[:60]]
    return labels_in(log.with_name("labels.jsonl"), ({"id": id_, "correct": at % 3 > 0} for at, id_ in enumerate(ids)))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.tuning.parts.SIZE", 50)
    monkeypatch.setattr("gate.tuning.collect_parts.LEAST", 4)


def test_a_replay_is_the_same(log: Path, labels: Path, tmp_path: Path) -> None:
    policy = find("strict")
    gateway, audits = assemble(read(policy, certificate=False)), read_audits(labels)
    here = replay(gateway, log, audits)
    there = replay(gateway, log, audits, work=Judged.by(policy, labels), on="ray", folder=tmp_path / "parts")
    assert same(here, there)
    assert len(here.judgements) > 200
    assert len(list((tmp_path / "parts").iterdir())) == 10
    told = ["replay", "strict", log, "--labels", labels, "--json"]
    assert gate(*told).json == gate(*told, "--on", "ray", "--parts", tmp_path / "other").json


def test_signals_are_the_same_bytes(log: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    assert gate("signals", "balanced", log, "--out", here).code == 0
    ran = gate("signals", "balanced", log, "--out", there, "--on", "ray", "--parts", tmp_path / "parts")
    assert ran.code == 0, ran.err
    assert here.read_bytes() == there.read_bytes()
    assert here.read_bytes().count(b"\n") > 40 * TIMES


def test_finished_parts_are_kept_and_the_rest_is_done(log: Path, tmp_path: Path) -> None:
    work, folder = Signals.of(find("balanced")), tmp_path / "parts"
    whole = list(map_records(log, work, on="ray", folder=folder))
    kept = sorted(folder.iterdir())
    for lost in kept[::3]:
        lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.iterdir())}
    done: list[int] = []
    assert list(map_records(log, work, on="ray", folder=folder, progress=lambda: done.append(1))) == whole
    assert len(done) == len(kept[::3])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert sorted(folder.iterdir()) == kept


def test_a_part_of_which_a_piece_was_kept_is_done_anew_in_the_cluster(log: Path, tmp_path: Path) -> None:
    work, folder = Signals.of(find("balanced")), tmp_path / "parts"
    whole, done = list(map_records(log, work, on="ray", folder=folder)), list[int]()
    cut = sorted(folder.iterdir())[0]
    cut.write_bytes(b"".join(cut.read_bytes().splitlines(keepends=True)[:-2]))
    assert list(map_records(log, work, on="ray", folder=folder, progress=lambda: done.append(1))) == whole
    assert done == [1]


def test_a_broken_line_is_named_as_it_is_here(log: Path, tmp_path: Path) -> None:
    broken = tmp_path / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    broken.write_text("".join([*lines[:70], '{"id": \n', *lines[70:140], "[]\n"]))
    work = Signals.of(find("balanced"))
    with pytest.raises(ConfigError) as here:
        list(map_records(broken, work))
    with pytest.raises(ConfigError) as there:
        list(map_records(broken, work, on="ray", folder=tmp_path / "parts"))
    assert str(here.value) == str(there.value)
    assert "log.jsonl:71" in str(there.value)


def test_a_killed_run_goes_on_where_it_was(log: Path, tmp_path: Path) -> None:
    """A process of its own, killed in the midst: what stands in the folder is whole, and is not done again."""
    folder = tmp_path / "parts"
    script = (
        "import sys; from pathlib import Path; from gate.policy import find; from gate.tuning import parts; "
        "from gate.tuning.anywhere import Signals; parts.SIZE = 50; "
        "list(parts.map_records(Path(sys.argv[1]), Signals.of(find('balanced')), folder=Path(sys.argv[2])))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", script, str(log), str(folder)], env=environment) as process:
        until = time.monotonic() + 30
        while len(list(folder.glob("*.jsonl"))) < 2:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    standing = {path: path.read_bytes() for path in folder.glob("[!.]*.jsonl")}
    assert 2 <= len(standing) < 10
    work, done = Signals.of(find("balanced")), list[int]()
    rows = list(map_records(log, work, on="ray", folder=folder, progress=lambda: done.append(1)))
    assert len(done) == 10 - len(standing)
    assert {path: path.read_bytes() for path in standing} == standing
    assert rows == list(map_records(log, work))


def test_a_collection_is_the_same(tmp_path: Path) -> None:
    """Values, and their order, with both models and passages."""
    told, here, there = ["collect", questions_in(tmp_path), "-p", "balanced"], tmp_path / "a.db", tmp_path / "b.db"
    assert said_of(told, here) == said_of(told, there, "--on", "ray", "--parts", tmp_path / "parts")
    assert held_in(here) == held_in(there)
    assert len(held_in(there)) == N
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_killed_collection_goes_on_in_a_cluster(tmp_path: Path) -> None:
    questions, there = questions_in(tmp_path), tmp_path / "b.db"
    kill_midway(questions, there, tmp_path / "parts")
    told = ["collect", questions, "-p", "cost-saver"]
    done, whole = said_of(told, there, "--on", "ray", "--parts", tmp_path / "parts"), said_of(told, tmp_path / "a.db")
    assert (done["finished"], done["spent"]) == (N, whole["spent"])
    assert held_in(there) == held_in(tmp_path / "a.db")


def test_a_cap_is_that_of_all_workers_together(tmp_path: Path) -> None:
    told = ["collect", questions_in(tmp_path), "-p", "cost-saver", "--json", "-o", tmp_path / "c.db", "--on", "ray"]
    capped = gate(*told, "--parts", tmp_path / "parts", "--max-calls", 70)
    assert capped.code == 1, capped.err
    assert 50 < capped.json["spent"]["calls"] <= 70
    assert "the cap on calls" in capped.json["stopped"]
    assert gate(*told, "--parts", tmp_path / "parts").json["finished"] == N


def test_a_part_whose_worker_dies_goes_on_in_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died = str(tmp_path / "died")

    def dying(row: dict[str, Any]) -> dict[str, Any]:
        from gate.tuning.collect_parts import do_row
        from gate.tuning.collection import Collection

        finish = Collection.finish

        def once(self: Collection, place: int, *what: Any) -> None:
            finish(self, place, *what)
            try:
                Path(died).touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

        Collection.finish = once  # type: ignore[method-assign]
        try:
            return do_row(row)
        finally:
            Collection.finish = finish  # type: ignore[method-assign]

    monkeypatch.setattr("gate.tuning.collect_parts.do_row", dying)
    told = ["collect", questions_in(tmp_path), "-p", "cost-saver"]
    done = said_of(told, tmp_path / "b.db", "--on", "ray", "--parts", tmp_path / "parts")
    assert Path(died).exists()
    assert done == said_of(told, tmp_path / "a.db")
    assert held_in(tmp_path / "a.db") == held_in(tmp_path / "b.db")
