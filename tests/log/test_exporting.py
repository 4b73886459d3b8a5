"""Exports: every record once, oldest first, in pages, as it can be read again; and the labels."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from gate.errors import GateError
from gate.log.entries import Entry
from gate.log.exporting import evidenced, labels, least_audit, lines
from gate.log.jsonl import from_json
from gate.log.kept import Label, Sought
from tests.log.decided import START, entry, kept, record, worded


def test_every_record_is_one_line_in_the_order_of_time(opened: Any) -> None:
    log = opened(keep="text")
    made = [record(f"{place:03}", START + place // 9) for place in range(450)]
    kept(log, *map(Entry, made), Entry(worded("text\n", START + 99)))
    *bare, last = lines(log.engine, Sought())
    assert list(map(from_json, bare)) == made
    assert "\n" not in last
    assert from_json(last).question is not None


def test_only_what_is_meant_is_written(opened: Any) -> None:
    log = opened()
    kept(log, entry("a", START, key="one"), entry("b", START + 1, key="two"), entry("c", START + 2, policy="other"))
    for sought, found in ((Sought(keys=("two",)), "b"), (Sought(policy="mine", since=START), "ab"), (Sought(), "abc")):
        assert [from_json(line).id for line in lines(log.engine, sought)] == list(found)


def test_labels_are_those_of_the_decisions_that_are_meant(opened: Any) -> None:
    log = opened()
    kept(log, entry("a", audit=0.25), entry("b", policy="other"))
    for id_, correct in (("a", True), ("b", False)):
        log.reader.label(Label(id_, correct, "me"))
    assert [(each.id, each.correct, each.audit) for each in labels(log.engine, Sought())] == [
        ("a", True, 0.25), ("b", False, None)
    ]  # fmt: skip
    assert [each.id for each in labels(log.engine, Sought(policy="mine"))] == ["a"]


def test_decisions_with_all_evidence_come_with_the_label_that_counts(opened: Any) -> None:
    log = opened(keep="text")
    full = {"full_evidence": True}
    kept(log, *(entry(f"{place:03}", START + place, **full, audit=0.5) for place in range(201)), entry("bare"))
    kept(log, entry("other", START + 300, **full, mode="observe", audit=0.25), entry("not drawn", START + 301, **full))
    for label in (
        Label("000", True, "me"),
        Label("000", None, "me", "review"),
        Label("200", False, "me", "review", answer="Chad"),
        Label("200", None, "me", note="only a note"),
        Label("200", True, "me"),
        Label("bare", True, "me"),
    ):
        log.reader.label(label)
    found = {each.id: each for each in evidenced(log.engine, Sought())}
    assert list(found) == [*(f"{place:03}" for place in range(201)), "other", "not drawn"]
    said = {id_: (each.label.correct, each.label.answer) for id_, each in found.items() if each.label}
    assert said == {"000": (None, ""), "200": (False, "Chad")}
    assert (found["other"].mode, found["other"].audit, found["not drawn"].audit) == ("observe", 0.25, None)
    assert from_json(found["001"].trace).id == "001"
    assert (least_audit(log.engine, Sought()), least_audit(log.engine, Sought(before=START + 9))) == (0.25, 0.5)
    assert least_audit(log.engine, Sought(policy="nobody's")) is None


def test_a_log_that_cannot_be_read_is_said_to_be_so(opened: Any) -> None:
    log = opened()
    kept(log, entry("a"))
    with log.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gate_decisions RENAME TO taken_away"))
    for ask in (
        lambda: list(lines(log.engine, Sought())),
        lambda: labels(log.engine, Sought()),
        lambda: list(evidenced(log.engine, Sought())),
        lambda: least_audit(log.engine, Sought()),
    ):
        with pytest.raises(GateError, match=r"the decision log .* cannot be used: "):
            ask()
