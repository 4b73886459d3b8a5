"""The sums of the first page."""

from __future__ import annotations

import dataclasses

import pytest

from gate.dashboard.overview import drift, overview, period, ways
from gate.guarantees.monitor import DriftMonitor
from gate.log.kept import Total
from tests.dashboard.fake_reader import NOW, POLICIES, FakeReader, a_decision

TOTALS = [
    Total("balanced", "enforce", "answer", 6, 0, 12, 600, 60, 0.3, 1.0),
    Total("balanced", "observe", "answer", 2, 1, 2, 200, 20, 0.1, 2.0),
    Total("balanced", "enforce", "abstain", 2, 0, 8, 400, 40, 0.2, 4.0),
    Total("balanced", "enforce", "", 2, 0, 1, 0, 0, 0.0, 10.0),
]


def test_a_period_of_worked_numbers() -> None:
    made = period("Last hour", TOTALS)
    assert (made.count, made.retracted, made.observed, made.tokens) == (12, 1, 2, 1320)
    assert made.coverage == pytest.approx(8 / 10), "what failed was not decided"
    assert made.money == pytest.approx(0.6)
    assert made.seconds == pytest.approx((6 * 1 + 2 * 2 + 2 * 4 + 2 * 10) / 12)
    assert [(p.action, p.count) for p in made.parts] == [("answer", 8), ("abstain", 2), ("", 2)]
    assert [p.start for p in made.parts] == pytest.approx([0, 8 / 12, 10 / 12])


def test_a_period_of_nothing() -> None:
    made = period("Last hour", [])
    assert (made.count, made.coverage, made.seconds, made.parts) == (0, None, None, ())


def test_ways_are_told_from_the_last_stage() -> None:
    rows = [
        a_decision("a", stage="small/closed_book/tier0"),
        a_decision("b", stage="small/with_passages/tier1"),
        a_decision("c", stage="large/with_passages/tier1/memory"),
        a_decision("d", stage=""),
    ]
    found = ways(rows, ("small", "large"))
    assert (found.count, found.retrieved, found.escalated) == (4, 2, 1)
    assert ways(rows, ()).escalated == 0, "without a ladder nobody knows who is the first"


def test_the_evidence_against_the_promise_grows_to_the_alarm() -> None:
    monitor = DriftMonitor(alpha=0.05, delta=0.05)
    fresh = drift(monitor)
    assert fresh is not None
    assert (fresh.place, fresh.alarm, fresh.interval, fresh.limit) == (0.0, False, None, pytest.approx(20))
    for _ in range(6):
        monitor = monitor.updated(True)
    broken = drift(monitor)
    assert broken is not None
    assert broken.alarm
    assert broken.place == 1.0
    for _ in range(500):
        monitor = monitor.updated(False)
    later = drift(monitor)
    assert later is not None
    assert (later.alarm, later.place) == (True, 1.0), "what was shown once remains shown"
    assert drift(None) is None


def test_cards_take_the_monitor_of_the_log_before_the_one_of_the_process() -> None:
    reader = FakeReader()
    ours = DriftMonitor(alpha=0.05, delta=0.05)
    live = dataclasses.replace(POLICIES[0], monitor=ours)
    (card,) = overview(reader, [live], NOW)
    assert card.drift is not None
    assert card.drift.audited == 0
    reader.update_monitor(live.name, live.fingerprint, False, 1.0, ours)
    (card,) = overview(reader, [live], NOW)
    assert card.drift is not None
    assert card.drift.audited == 1


def test_cards_count_the_last_hour_and_day_of_their_policy_alone() -> None:
    reader = FakeReader()
    for name, age, policy in (
        ("a", 10, "balanced"),
        ("b", 7200, "balanced"),
        ("c", 90_000, "balanced"),
        ("d", 10, "x"),
    ):
        reader.add(a_decision(name, at=NOW - age, policy=policy))
    (card,) = overview(reader, POLICIES[:1], NOW)
    assert card.hour is not None
    assert card.day is not None
    assert (card.hour.count, card.day.count) == (1, 2)


def test_without_a_log_there_is_still_the_promise() -> None:
    cards = overview(None, POLICIES, NOW)
    assert [card.live.name for card in cards] == ["balanced", "support", "strict"]
    assert all(card.day is None and card.ways is None for card in cards)
