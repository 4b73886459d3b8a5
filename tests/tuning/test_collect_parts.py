"""Collecting in parts: what a local collection holds, nothing asked twice, no cap exceeded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.errors import ConfigError
from gate.gateway import Gateway
from gate.pocket.world import facts_of, unit_hash
from gate.policy import find
from gate.tuning import collect_parts
from gate.tuning.collect import Cap, CollectReport
from gate.tuning.collect_parts import Outcome, Part, collect_in_parts, do_part, take_parts
from gate.tuning.collection import Collected, Collection
from gate.tuning.examples import Example
from gate.tuning.one_at_a_time import one_at_a_time
from tests.commands import gate, lines
from tests.integrations.own_network import ROOT
from tests.tuning.collected import examples, policy_in
from tests.tuning.test_collect import CALLS, asked, down, gateway, replayed, rows, run

N = 40


def questions_in(folder: Path, n: int = N) -> Path:
    facts = sorted(facts_of("certify"), key=lambda fact: unit_hash(fact.key, "parts"))[:n]
    return lines(
        folder / "questions.jsonl", *({"id": f.key, "question": f.question, "answers": [f.answer]} for f in facts)
    )


def held_in(path: Path) -> list[Collected]:
    """All that a collection holds, but when it was had and how long it took."""
    with Collection.open(path) as held:
        return [
            replace(row, tape=tuple(replace(e, began=0.0, cost=replace(e.cost, seconds=0.0)) for e in row.tape))
            for row in held.collected()
        ]


@pytest.fixture
def over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Gateway]:
    """Parts are done over upstreams that are made up."""

    def made(*odd: Any, **fields: Any) -> Gateway:
        found = gateway(tmp_path, *odd, **fields)
        monkeypatch.setattr(collect_parts, "_gateway", lambda policy: found)
        return found

    return made


def known(n: int) -> list[Example]:
    """Questions of which passages tell: each needs as many calls."""
    return [example for example in examples(2 * n) if int(example.id[1:]) % 10][:n]


def in_parts(folder: Path, n: int = 0, **how: Any) -> CollectReport:
    with Collection.create(folder / "c.db") as collection:
        collection.add(known(n))
        return collect_in_parts(folder / "made-up.yaml", collection, folder / "parts", **how)


def said_of(told: Sequence[object], to: Path, *where: object) -> dict[str, Any]:
    """What collecting says of itself, but how long it took."""
    ran = gate(*told, "--json", "-o", to, *where)
    assert ran.code == 0, ran.err
    said: dict[str, Any] = ran.json
    assert said["spent"].pop("seconds") > 0
    said["spent"]["money"] = round(said["spent"]["money"], 12)
    return said


def test_the_collection_is_that_of_a_local_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_parts, "LEAST", 7)
    told, here, there = ["collect", questions_in(tmp_path), "-p", "cost-saver"], tmp_path / "a.db", tmp_path / "b.db"
    assert said_of(told, here) == said_of(told, there, "--parts", tmp_path / "parts")
    assert held_in(here) == held_in(there)
    assert len(held_in(there)) == N
    assert list((tmp_path / "parts").iterdir()) == []


def test_each_question_is_asked_once_in_parts_of_the_size_said(tmp_path: Path, over: Callable[..., Gateway]) -> None:
    made, steps, parts = over(), list[int](), list[int]()
    collect = collect_parts.collect

    async def counted(gateway: Gateway, part: Collection, **how: Any) -> CollectReport:
        parts.append(part.count()[0])
        return await collect(gateway, part, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect_parts, "collect", counted)
        done = in_parts(tmp_path, 11, size=4, progress=lambda: steps.append(1))
    assert (done.questions, done.finished, done.failed, done.stopped, len(steps)) == (11, 11, 0, None, 11)
    assert parts == [4, 4, 3]
    assert done.spent.calls == asked(made).total() == 11 * CALLS
    assert max(asked(made).values()) == 1
    assert [row.example.id for row in rows(tmp_path)] == [example.id for example in known(11)]
    assert all(replayed(made, row) == row.answers for row in rows(tmp_path))


def crash_midway(folder: Path) -> None:
    """Of twelve questions in three parts, end when the seventh has its replies and is not finished."""
    finish, finished = Collection.finish, list[int]()

    def crash(self: Collection, *what: Any) -> None:
        finished.append(1)
        if len(finished) == 7:
            raise MemoryError
        finish(self, *what)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Collection, "finish", crash)
        with pytest.raises(BaseExceptionGroup):
            in_parts(folder, 12, size=4, concurrency=1)


def test_what_a_crash_left_in_parts_is_not_asked_again(tmp_path: Path, over: Callable[..., Gateway]) -> None:
    before = over()
    crash_midway(tmp_path)
    made = over()
    done = in_parts(tmp_path, size=5)
    assert (done.finished, done.spent.calls) == (12, 12 * CALLS)
    assert (asked(before).total(), asked(made).total()) == (7 * CALLS, 5 * CALLS)
    assert not asked(before) & asked(made)
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_local_run_takes_what_parts_hold(tmp_path: Path, over: Callable[..., Gateway]) -> None:
    over()
    crash_midway(tmp_path)
    with Collection.open(tmp_path / "c.db") as held:
        assert held.count() == (12, 0)
        take_parts(held)
        assert held.count() == (12, 6)
    made = gateway(tmp_path)
    assert run(made, tmp_path).finished == 12
    assert asked(made).total() == 5 * CALLS


def test_parts_whose_folder_is_not_there_are_not_forgotten(tmp_path: Path, over: Callable[..., Gateway]) -> None:
    """A volume that is not mounted: what was paid for would be asked again, beyond every cap."""
    over()
    crash_midway(tmp_path)
    away = tmp_path / "parts"
    away.rename(tmp_path / "elsewhere")
    with Collection.open(tmp_path / "c.db") as held:
        with pytest.raises(ConfigError, match="--forget-parts") as caught:
            take_parts(held)
        assert str(away) in str(caught.value)
        (tmp_path / "elsewhere").rename(away)
        take_parts(held)
        assert held.count() == (12, 6)


def test_parts_may_be_given_up(tmp_path: Path, over: Callable[..., Gateway]) -> None:
    over()
    crash_midway(tmp_path)
    (tmp_path / "parts").rename(tmp_path / "elsewhere")
    with Collection.open(tmp_path / "c.db") as held:
        take_parts(held, forget=True)
        assert held.count() == (12, 0)
        take_parts(held)


def test_a_collection_without_its_parts_says_how_to_go_on(tmp_path: Path) -> None:
    questions, to = questions_in(tmp_path, 3), tmp_path / "c.db"
    told = ("collect", questions, "-p", "balanced", "--json", "-o", to)
    with Collection.create(to) as held:
        held.remember(parts=str(tmp_path / "away"))
    ran = gate(*told)
    assert ran.code == 2
    assert "--forget-parts" in ran.complaint
    assert gate(*told, "--forget-parts").json["finished"] == 3


def test_parts_are_for_their_owner_alone(tmp_path: Path, over: Callable[..., Gateway]) -> None:
    over()
    crash_midway(tmp_path)
    found = list((tmp_path / "parts").glob("*/*.db*"))
    assert found
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}


def test_a_collection_is_collected_by_one_command_at_a_time(tmp_path: Path) -> None:
    """Else a second one takes and deletes the parts that the first one's workers fill."""
    questions, to = questions_in(tmp_path, 3), tmp_path / "c.db"
    told = ("collect", questions, "-p", "balanced", "--json", "-o", to)
    with one_at_a_time(to, "busy"):
        ran = gate(*told)
    assert ran.code == 2
    assert "another 'gate collect' is at work on this collection" in ran.complaint
    assert gate(*told).code == 0


@pytest.mark.parametrize("calls", [3, 4 * CALLS, 9 * CALLS + 1, 23 * CALLS])
def test_a_cap_is_kept_and_used_up(tmp_path: Path, over: Callable[..., Gateway], calls: int) -> None:
    made = over()
    done = in_parts(tmp_path, 24, size=3, cap=Cap(calls=calls))
    assert done.spent.calls == asked(made).total() == calls // CALLS * CALLS
    assert (done.finished, done.failed) == (calls // CALLS, 0)
    assert "the cap on calls" in str(done.stopped)
    assert in_parts(tmp_path, size=3, cap=Cap(calls=24 * CALLS)).finished == 24
    assert max(asked(made).values()) == 1


@pytest.mark.parametrize("unit", ["tokens", "money"])
def test_a_cap_on_what_is_paid_is_kept(tmp_path: Path, over: Callable[..., Gateway], unit: str) -> None:
    over()
    (tmp_path / "free").mkdir()
    most = getattr(run(gateway(tmp_path / "free"), tmp_path / "free", 24).spent, unit) / 2
    done = in_parts(tmp_path, 24, size=3, cap=Cap(**{unit: most}))
    assert 0.5 * most < getattr(done.spent, unit) <= most
    assert 6 <= done.finished < 24
    assert "of the cap" in str(done.stopped)


def test_where_an_upstream_is_down_no_other_part_is_begun(tmp_path: Path, over: Callable[..., Gateway]) -> None:
    over(down)
    done = in_parts(tmp_path, 60, size=15, concurrency=1)
    assert (done.finished, done.failed) == (0, 10)
    assert str(done.stopped).startswith("requests of 10 questions in a row failed")
    over()
    assert in_parts(tmp_path, size=15).finished == 60


def test_a_question_that_fails_is_not_tried_again_in_the_same_run(tmp_path: Path, over: Callable[..., Gateway]) -> None:
    def odd(self: Any, effect: Any) -> None:
        if "Town3 " in effect.messages[-1].content:
            down(self, effect)

    over(odd)
    done = in_parts(tmp_path, 9, size=2)
    assert (done.finished, done.failed, done.stopped) == (8, 1, None)
    over()
    assert in_parts(tmp_path, size=2).finished == 9


def test_another_policy_than_that_of_the_run_does_no_part(tmp_path: Path, over: Callable[..., Gateway]) -> None:
    over()
    with Collection.create(tmp_path / "parts" / "part.db") as held:
        held.add(examples(1))
        held.remember(running=json.dumps({"evidence": "another"}))
    said = do_part(Part(str(tmp_path / "parts" / "part.db"), str(tmp_path / "made-up.yaml"), 8, Cap()))
    assert "this node has another policy" in said.fault
    with Collection.create(tmp_path / "c.db") as held:
        held.remember(running="{}", parts=str(tmp_path / "parts"))
        with pytest.raises(ConfigError, match="made with another policy"):
            take_parts(held)


def test_what_is_wrong_with_a_part_ends_the_run_when_the_others_are_kept(
    tmp_path: Path, over: Callable[..., Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    over()
    whole = do_part

    def broken(part: Part) -> Outcome:
        return Outcome(part.collection, fault="no memory") if part.collection.endswith("1.db") else whole(part)

    monkeypatch.setattr(collect_parts, "do_part", broken)
    with pytest.raises(ConfigError, match="no memory"):
        in_parts(tmp_path, 9, size=3)
    assert len(rows(tmp_path)) == 6


def test_a_cluster_needs_a_folder(tmp_path: Path) -> None:
    told = ("collect", questions_in(tmp_path), "-p", "cost-saver", "-o", tmp_path / "new" / "c.db", "--on", "ray")
    assert "give --parts" in gate(*told).complaint
    assert "not on 'dask'" in gate(*told[:-1], "dask", "--parts", tmp_path / "parts").complaint
    assert not (tmp_path / "new").exists()


def kill_midway(questions: Path, to: Path, folder: Path) -> None:
    """Collect in parts in a process of its own, and kill it when some are done."""
    code = (
        "import sys; from gate.cli import app; from gate.tuning import collect_parts as c; c.LEAST = 4; "
        "done = c.do_part; c.do_part = lambda part: (print('part', flush=True), done(part))[1]; app(sys.argv[1:])"
    )
    told = ["collect", questions, "-p", "cost-saver", "-o", to, "--parts", folder, "--concurrency", "1"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, told)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        for _ in range(4):
            assert process.stdout.readline() == b"part\n"
        until = time.monotonic() + 5
        while not list(folder.glob("*/000003.db-wal")) and time.monotonic() < until:
            pass
        process.send_signal(signal.SIGKILL)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    questions, to = questions_in(tmp_path), tmp_path / "c.db"
    kill_midway(questions, to, tmp_path / "parts")
    with Collection.open(to) as held:
        assert held.count() == (N, 0)
    told = ("collect", questions, "-p", "cost-saver", "--json", "-o")
    done = gate(*told, to, "--parts", tmp_path / "other").json
    whole = gate(*told, tmp_path / "whole.db").json
    assert (done["finished"], done["spent"]["calls"]) == (N, whole["spent"]["calls"])
    assert held_in(to) == held_in(tmp_path / "whole.db")


def test_the_policy_of_a_file_is_read_by_each_process_once(tmp_path: Path) -> None:
    file = policy_in(tmp_path, towns=20)
    assert collect_parts._gateway(file.path) is collect_parts._gateway(file.path)
    assert collect_parts._gateway(file.path) is not collect_parts._gateway(find("cost-saver"))
