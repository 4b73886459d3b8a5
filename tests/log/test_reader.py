"""Reading: lists page by page, sums, labels, the review queue, and monitors that several processes update."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from sqlalchemy import text

from gate.errors import GateError
from gate.guarantees.monitor import DriftMonitor
from gate.log.explain import explanation
from gate.log.jsonl import without_text
from gate.log.kept import Label, Sought, Total
from gate.log.opening import DecisionLog
from gate.types import Action, Cost
from tests.log.decided import ANSWER, QUESTION, START, entry, kept, record, worded

FRESH = DriftMonitor(alpha=0.05, delta=0.05, largest_weight=20.0)
STRANGERS = ["", "zzz", "\ud800", "a\0", "'; DROP TABLE gate_decisions; --", "x" * 10_000]


def listed(found: Any) -> list[str]:
    return [each.id for each in found]


def test_pages_go_through_all_decisions_once_also_where_many_are_of_one_time(opened: Any) -> None:
    log = opened()
    kept(log, *(entry(f"{place:02}", START + place // 7) for place in range(30)))
    seen: list[str] = []
    sought = Sought()
    while page := log.reader.recent(sought, 4):
        seen += listed(page)
        sought = Sought(before=page[-1].at, before_id=page[-1].id)
    assert seen == [f"{place:02}" for place in reversed(range(30))]
    assert listed(log.reader.recent(Sought(before=START + 1))) == [f"{place:02}" for place in reversed(range(7))]


def test_what_is_sought_is_found_and_nothing_else(opened: Any) -> None:
    log = opened()
    kept(
        log,
        entry("a", START, key="one"),
        entry("b", START + 1, key="two", action=Action.ABSTAIN),
        entry("c", START + 2, key="two", policy="other"),
        entry("d", START + 3),
    )
    for sought, found in (
        (Sought(), "dcba"),
        (Sought(policy="mine"), "dba"),
        (Sought(action="abstain"), "b"),
        (Sought(keys=("two", "three")), "cb"),
        (Sought(keys=("",)), "d"),
        (Sought(keys=()), ""),
        (Sought(since=START + 2), "dc"),
        (Sought(policy="mine", keys=("one", "two"), since=START, before=START + 1), "a"),
        (Sought(policy="\ud800"), ""),
    ):
        assert listed(log.reader.recent(sought)) == list(found), sought
    assert listed(log.reader.recent(Sought(), 2)) == ["d", "c"]


def test_one_decision_is_found_with_its_explanation_its_trace_and_its_latest_label(opened: Any) -> None:
    log = opened(keep="text")
    told = worded("a")
    kept(log, dataclasses.replace(entry("a", key="team"), record=told))
    found = log.reader.find("a")
    assert found is not None
    assert (found.question, found.answer, found.key, found.label) == (QUESTION, ANSWER, "team", None)
    assert found.explanation == explanation(told)
    trace = log.reader.trace("a")
    assert trace is not None
    assert without_text(trace) == without_text(told)
    labels = [Label("a", True, "me", at=5.0), Label("a", False, "you", "review", 4.0, "no Où", "Kenya")]
    assert [log.reader.label(label) for label in labels] == [True, True]
    assert log.reader.find("a").label == labels[1]  # type: ignore[union-attr]
    assert log.reader.recent(Sought())[0].label == labels[1]
    log.reader.label(Label("a", True, "me", at=6.0))
    assert log.reader.find("a").label == labels[1], "a review stands"  # type: ignore[union-attr]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_decision_that_is_not_there_is_none(opened: Any, stranger: str) -> None:
    log = opened()
    kept(log, entry("a", audit=0.5))
    assert log.reader.find(stranger) is log.reader.trace(stranger) is None
    assert log.reader.label(Label(stranger, True, "me")) is False
    assert listed(log.reader.waiting(after=stranger)) == ["a"]


def test_a_label_gets_its_time_and_no_words_where_the_log_keeps_none(opened: Any) -> None:
    log = opened()
    kept(log, entry("a"))
    before = time.time()
    log.reader.label(Label("a", True, "me\0", note="secret", answer="secret"))
    label = log.reader.recent(Sought())[0].label
    assert before <= label.at <= time.time()
    assert label == Label("a", True, "me\ufffd", at=label.at)


def test_the_queue_holds_what_was_drawn_until_somebody_tells_the_oldest_first(opened: Any) -> None:
    log = opened()
    kept(log, *(entry(name, START + place // 2, audit=0.5) for place, name in enumerate("abcdef")), entry("x"))
    assert listed(log.reader.waiting()) == list("abcdef")
    assert listed(log.reader.waiting(2, after="b")) == ["c", "d"]
    log.reader.label(Label("a", True, "me", "review"))
    log.reader.label(Label("b", False, "me"))  # volunteered: it is still to be checked
    log.reader.label(Label("c", None, "me", "review"))  # looked at: it cannot be told
    log.reader.label(Label("d", False, "me", "review"))
    log.reader.label(Label("d", None, "me"))
    assert listed(log.reader.waiting()) == ["b", "e", "f"]
    assert log.reader.waiting_count() == 3
    assert listed(log.reader.waiting(after="a")) == ["b", "e", "f"], "also past one that is labelled meanwhile"


def test_totals_are_sums_by_policy_mode_and_action(opened: Any) -> None:
    log = opened()
    assert log.reader.totals(Sought()) == log.reader.spent(0.0) == []
    kept(
        log,
        entry("a", START, key="one", seconds=1.0, cost=Cost(2, 30, 4, 0.1, 0.5), retracted=True),
        entry("b", START + 1, key="two", seconds=2.0, cost=Cost(3, 50, 6, 0.1, 0.25)),
        entry("c", START + 2, key="two", seconds=0.5, cost=Cost(1, 10, 1, 0.1, 0.125), action=Action.ABSTAIN),
        entry("d", START + 3, key="two", seconds=0.5, cost=Cost(1, 10, 1, 0.1, 1.0), mode="observe"),
    )
    assert log.reader.totals(Sought(before=START + 3)) == [
        Total("mine", "enforce", "abstain", 1, 0, 1, 10, 1, 0.125, 0.5),
        Total("mine", "enforce", "answer", 2, 1, 5, 80, 10, 0.75, 1.5),
    ]
    assert [(total.mode, total.count) for total in log.reader.totals(Sought(keys=("two",)))] == [
        ("enforce", 1), ("enforce", 1), ("observe", 1)
    ]  # fmt: skip
    assert log.reader.spent(START + 1) == [("two", 1.375, 78)]
    assert log.reader.spent(START) == [("one", 0.5, 34), ("two", 1.375, 78)]


def test_audited_are_the_labelled_ones_with_what_they_were_labelled_last(opened: Any) -> None:
    log = opened()
    kept(
        log,
        *(entry(name, p=0.5, audit=0.25) for name in "abcd"),
        entry("e", action=Action.ABSTAIN, mode="observe"),
        entry("f", policy="other"),
        entry("g", fingerprint="def"),
    )
    for label in (
        Label("a", True, "me"),
        Label("b", True, "me"),
        Label("c", True, "me"),
        Label("e", False, "me"),
        Label("f", True, "me"),
        Label("g", True, "me"),
        Label("a", False, "you", "review"),
        Label("b", None, "you"),  # says nothing
        Label("c", None, "you", "review"),  # takes it back
        Label("a", True, "me"),  # a review was there
        Label("c", False, "me"),
    ):
        assert log.reader.label(label)
    found = log.reader.audited("mine")
    assert [(each.id, each.correct) for each in found] == [("b", True), ("e", False), ("g", True), ("a", False)]
    assert (found[1].action, found[1].mode, found[1].audit, found[1].p) == ("abstain", "observe", None, 0.9)
    assert (found[0].p, found[0].audit) == (0.5, 0.25)
    assert [each.audit_counts for each in found] == [False, False, False, True]
    assert listed(log.reader.audited("mine", "def")) == ["g"]
    assert log.reader.audited("\ud800") == []


# --- monitors ----------------------------------------------------------------------------------------------------


def test_a_monitor_begins_fresh_and_goes_on(opened: Any) -> None:
    log = opened()
    assert log.reader.monitor("mine", "abc") is None
    first = log.reader.update_monitor("mine", "abc", True, 20.0, FRESH)
    second = log.reader.update_monitor("mine", "abc", False, 4.0, DriftMonitor(alpha=0.5, delta=0.5))
    assert first == FRESH.updated(True, 20.0)
    assert second == first.updated(False, 4.0) == log.reader.monitor("mine", "abc")
    assert log.reader.monitor("mine", "def") is log.reader.monitor("other", "abc") is None


def test_a_weight_that_no_monitor_takes_changes_nothing(opened: Any) -> None:
    log = opened()
    log.reader.update_monitor("mine", "abc", False, 1.0, FRESH)
    with pytest.raises(ValueError, match="a weight must be in"):
        log.reader.update_monitor("mine", "abc", False, 21.0, FRESH)
    assert log.reader.monitor("mine", "abc") == FRESH.updated(False, 1.0)


def test_threads_lose_no_update(opened: Any) -> None:
    log = opened()

    def updates(log: DecisionLog) -> None:
        for place in range(20):
            log.reader.update_monitor("mine", "abc", place == 0, 2.0, FRESH)

    threads = [threading.Thread(target=updates, args=(each,)) for each in (log, log, opened())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = log.reader.monitor("mine", "abc")
    assert (state.audited, state.wrong, state.weight) == (60, 3, 120.0)


def test_processes_lose_no_update(url: str, opened: Any) -> None:
    log = opened()
    code = (
        "from gate.log.opening import open_log; from tests.log.test_reader import FRESH; "
        f"log = open_log({url!r}, retention_days=None); "
        "[log.reader.update_monitor('mine', 'abc', False, 2.0, FRESH) for _ in range(40)]; log.close()"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60) for process in started] == [("", "")] * 2
    assert log.reader.monitor("mine", "abc").audited == 80


# --- what is broken ----------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_said_in_gates_own_words(opened: Any) -> None:
    log = opened()
    kept(log, entry("a"))
    log.reader.update_monitor("mine", "abc", False, 1.0, FRESH)
    with log.engine.begin() as connection:
        connection.execute(text("UPDATE gate_traces SET trace = '{}'"))
        connection.execute(text("UPDATE gate_monitors SET state = '{}'"))
    for ask in (lambda: log.reader.find("a"), lambda: log.reader.trace("a")):
        with pytest.raises(GateError, match="holds a trace that cannot be read"):
            ask()
    with pytest.raises(GateError, match="holds a monitor that cannot be read"):
        log.reader.monitor("mine", "abc")
    with log.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gate_labels RENAME TO taken_away"))
    asks: list[Any] = [
        lambda: log.reader.recent(Sought()),
        lambda: log.reader.label(Label("a", True, "me")),
        lambda: log.reader.audited("mine"),
    ]
    for ask in asks:
        with pytest.raises(GateError, match=r"the decision log .* cannot be used: ") as caught:
            ask()
        assert "SELECT" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_a_decision_that_lost_its_trace_is_found_all_the_same(opened: Any) -> None:
    log = opened()
    kept(log, entry("a"))
    with log.engine.begin() as connection:
        connection.execute(text("DELETE FROM gate_traces"))
    assert log.reader.find("a").explanation == {}
    assert log.reader.trace("a") is None
    assert record("a") is not None
