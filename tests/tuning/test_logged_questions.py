"""A collection out of a decision log: the very evidence, people's labels, and only what stands for the traffic."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gate.assemble import assemble
from gate.errors import ConfigError
from gate.gateway import Gateway
from gate.log.entries import Entry
from gate.log.kept import Label, Sought
from gate.log.opening import DecisionLog, open_log
from gate.traces import TraceRecord
from gate.tuning.collection import Collected, Collection
from gate.tuning.logged_questions import NOT_DRAWN, REPEATED, THINNED, UNLABELLED, VOLUNTEERED, take
from gate.types import Generation, Question
from tests.log.decided import kept
from tests.tuning.collected import POLICY, country_of, gateway_of, policy_in, town

UNTUNED = POLICY.replace("made-up.calibrator.json", "vote_share").replace("answer_at: 0.8", "answer_at: 0.7")


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    file = policy_in(tmp_path, UNTUNED, towns=60)
    made = assemble(file)
    return Gateway(made.policy, made.plan, gateway_of(file).world, made.running)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DecisionLog]:
    made = open_log(f"sqlite:///{tmp_path / 'decisions.db'}", keep="text", retention_days=None)
    yield made
    made.close()


def decided(gateway: Gateway, places: Sequence[int], *, full: bool = True) -> list[TraceRecord]:
    """Questions after towns, with all evidence where it is ``full``; the id of each is the town's."""

    async def ask() -> list[TraceRecord]:
        made = []
        for place in places:
            _, record = await gateway.aask(Question.from_text(f"Which country is {town(place)} in?"))
            record = await gateway.acomplete(record) if full else record
            made.append(dataclasses.replace(record, id=town(place)))
        await gateway.aclose()
        return made

    return asyncio.run(ask())


def first_draft(record: TraceRecord) -> Generation:
    return next(entry.generations.choices[0] for entry in record.tape if entry.generations)


def observed(record: TraceRecord, **more: Any) -> Entry:
    return Entry(record, mode="observe", full_evidence=True, sent=first_draft(record), **{"audit": 1.0, **more})


def label(log: DecisionLog, record: TraceRecord, said: str) -> bool:
    """As one who knows: whether it is right, and if not what is."""
    truth = country_of(record.id)
    assert log.reader.label(Label(record.id, said == truth, "ann", "review", answer="" if said == truth else truth))
    return said == truth


def taken(log: DecisionLog, gateway: Gateway, folder: Path, **more: Any) -> tuple[Any, list[Collected]]:
    with Collection.create(folder / "collection") as collection:
        done = take(log.engine, gateway, collection, Sought(policy="made-up"), **more)
        return done, list(collection.collected())


def test_of_what_was_observed_the_first_drafts_are_labelled_and_the_others_have_a_reference(
    tmp_path: Path, gateway: Gateway, log: DecisionLog
) -> None:
    records = decided(gateway, range(1, 25))
    kept(log, *map(observed, records))
    right = [label(log, record, first_draft(record).text) for record in records]
    done, rows = taken(log, gateway, tmp_path)
    assert (done.questions, done.right, done.wrong, done.unclear) == (24, sum(right), 24 - sum(right), 0)
    assert (done.without_reference, done.left_out) == (0, {})
    for record, correct, row in zip(records, right, rows, strict=True):
        books = ["closed_book"] if record.id.endswith("0") else ["closed_book", "with_passages"]
        assert row.answers.keys() == {f"{name}/{book}" for name in ("small", "large") for book in books}
        assert row.answers["small/closed_book"] == first_draft(record).text
        assert row.labels[first_draft(record).text].correct is correct
        assert row.labels.keys() == {first_draft(record).text}, "no other draft was looked at"
        assert row.example.references == (country_of(record.id),)
    assert {row.answers["small/closed_book"] == row.answers["large/closed_book"] for row in rows} == {True, False}


def test_of_what_was_enforced_the_last_draft_is_labelled(tmp_path: Path, gateway: Gateway, log: DecisionLog) -> None:
    records = decided(gateway, range(1, 25))
    ended = [record.steps[-1].decision.stage.round_key for record in records]
    assert len({*ended}) > 1
    kept(log, *(Entry(record, audit=1.0, full_evidence=True) for record in records))
    for record in records:
        found = log.reader.find(record.id)
        assert found is not None
        label(log, record, found.answer)
    _, rows = taken(log, gateway, tmp_path)
    for row, round_key in zip(rows, ended, strict=True):
        assert row.labels.keys() == {row.answers[round_key]}


def test_what_is_unclear_or_wrong_without_a_word_leaves_the_others_open(
    tmp_path: Path, gateway: Gateway, log: DecisionLog
) -> None:
    records = decided(gateway, (1, 2, 3))
    kept(log, *map(observed, records))
    for record, correct in zip(records, (False, None, True), strict=True):
        log.reader.label(Label(record.id, correct, "ann", "review"))
    done, rows = taken(log, gateway, tmp_path)
    assert (done.right, done.wrong, done.unclear, done.without_reference) == (1, 1, 1, 2)
    assert [row.example.references for row in rows] == [(), (), (first_draft(records[2]).text,)]
    assert [row.correct(first_draft(r).text) for row, r in zip(rows, records, strict=True)] == [False, None, True]
    assert rows[1].labels, "that nobody can tell is no reason to leave a question out: these are the hard ones"


def test_what_nobody_drew_or_labelled_is_left_out_and_comes_when_it_is_labelled(
    tmp_path: Path, gateway: Gateway, log: DecisionLog
) -> None:
    a, b, c, d = decided(gateway, (1, 2, 3, 4))
    again = dataclasses.replace(a, id="again")
    bare = dataclasses.replace(decided(gateway, (5,), full=False)[0], id="bare")
    kept(log, observed(a), observed(b), observed(c, audit=None), observed(again), Entry(bare, audit=1.0))
    for record in (a, c, again, bare):
        log.reader.label(Label(record.id, True, "ann", "review"))
    done, rows = taken(log, gateway, tmp_path)
    assert (done.questions, done.left_out) == (1, {UNLABELLED: 1, NOT_DRAWN: 1, REPEATED: 1})
    kept(log, observed(d))
    for record in (b, d):
        log.reader.label(Label(record.id, False, "ann", "review"))
    log.reader.label(Label(a.id, False, "bob", "review"))
    done, rows = taken(log, gateway, tmp_path)
    assert (done.questions, done.right, done.wrong) == (3, 0, 3), "a label that was taken back is too"
    assert [row.example.id for row in rows] == [a.id, b.id, d.id]
    done, rows = taken(log, gateway, tmp_path, even=True)
    assert (done.questions, done.left_out) == (4, {REPEATED: 1})


def test_what_only_users_told_of_waits_for_a_review(tmp_path: Path, gateway: Gateway, log: DecisionLog) -> None:
    a, b = decided(gateway, (1, 2))
    kept(log, observed(a), observed(b))
    log.reader.label(Label(a.id, True, "ann", "review"))
    for record in (a, b):
        log.reader.label(Label(record.id, False, "app"))
    done, _ = taken(log, gateway, tmp_path)
    assert (done.right, done.wrong, done.left_out) == (1, 0, {VOLUNTEERED: 1})
    done, _ = taken(log, gateway, tmp_path, even=True)
    assert (done.right, done.wrong) == (1, 1)


def test_what_was_likelier_to_be_drawn_is_taken_as_often_as_the_rest(
    tmp_path: Path, gateway: Gateway, log: DecisionLog
) -> None:
    records = decided(gateway, range(1, 61))
    kept(log, *(observed(record, audit=1.0 if place < 48 else 0.25) for place, record in enumerate(records)))
    for record in records:
        log.reader.label(Label(record.id, True, "ann", "review"))
    done, rows = taken(log, gateway, tmp_path)
    often = sum(int(row.example.id.removeprefix("Town")) <= 48 for row in rows)
    assert len(rows) - often == 12, "of the rarer ones all"
    assert done.left_out == {THINNED: 48 - often}
    assert 4 <= often <= 22  # binomial of 48 and 1/4: beyond it once in 500


def test_another_model_or_evidence_is_not_mixed_in(tmp_path: Path, gateway: Gateway, log: DecisionLog) -> None:
    a, b = decided(gateway, (1, 2))
    kept(log, observed(a))
    log.reader.label(Label(a.id, True, "ann", "review"))
    taken(log, gateway, tmp_path)
    other = gateway_of(policy_in(tmp_path, UNTUNED.replace("n: 4", "n: 6")))
    with pytest.raises(ConfigError, match="this collection was made with another evidence"):
        taken(log, other, tmp_path)
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match=r"cannot be told from the recording.* \(1\)"):
        taken(log, other, tmp_path / "other")
    tape = tuple(
        entry
        if entry.generations is None
        else dataclasses.replace(entry, generations=dataclasses.replace(entry.generations, model="newer"))
        for entry in b.tape
    )
    kept(log, observed(dataclasses.replace(b, tape=tape)))
    log.reader.label(Label(b.id, True, "ann", "review"))
    with pytest.raises(ConfigError, match="'small' gave answers of 'small' and 'newer': take those of one"):
        taken(log, gateway, tmp_path)


def test_a_log_without_such_decisions_says_what_is_missing(tmp_path: Path, gateway: Gateway, log: DecisionLog) -> None:
    with pytest.raises(ConfigError, match=r"decisions\.db: no decision of it has full evidence: serve with"):
        taken(log, gateway, tmp_path)
    kept(log, *map(observed, decided(gateway, (1,))))
    with pytest.raises(ConfigError, match=rf"none of its decisions .* can be used: {UNLABELLED} \(1\)"):
        taken(log, gateway, tmp_path)
