"""Which faults share a world, that no two have a name, and that each must be felt."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gate.drivers.breaker import Breaker
from gate.endpoint_settings import BreakerSettings
from gate.errors import UpstreamError
from gate.log.address import BUSY
from tests.benchmarks.reliability import rows
from tests.benchmarks.reliability.faults import (
    _SHUT,
    _SHUT_AFTER,
    _WATCHED,
    CLOCK,
    FAULTS,
    LOCKED,
    PATIENT,
    PLAIN,
    Fault,
    _at,
)
from tests.benchmarks.reliability.load import Codes, Course, Target
from tests.benchmarks.reliability.rows import NOT_FELT, Pace, _grouped, course_of, too_many, under_fault
from tests.benchmarks.reliability.upstream import FAULTS as OF_MODELS
from tests.benchmarks.reliability.upstream import Felt
from tests.benchmarks.reliability.worlds import BREAKER, Setup


def test_faults_of_one_world_follow_each_other() -> None:
    groups = _grouped(FAULTS)
    assert len({setup.name for setup, _ in groups}) == len(groups), "each world is made once"
    assert sum(len(listed) for _, listed in groups) == len(FAULTS) == len({fault.name for fault in FAULTS})


def test_every_fault_of_models_is_tried() -> None:
    named = [fault.name for fault in FAULTS if fault.setup is PLAIN and fault.name.startswith("model: ")]
    assert len(named) == len(OF_MODELS) + 3


def test_the_short_version_breaks_models_and_gate_s_own_world() -> None:
    quick = [fault for fault in FAULTS if fault.quick]
    assert {fault.setup.name for fault in quick} >= {"plain", "durableworkers", "postgres", "redis"}


def test_every_fault_says_how_it_is_felt() -> None:
    assert [fault.name for fault in FAULTS if fault.felt is Fault.__dataclass_fields__["felt"].default] == ["none"]


def test_what_takes_long_is_given_the_time() -> None:
    assert LOCKED > BUSY + 1
    locked = [fault for fault in FAULTS if "SQLite locked" in fault.name]
    assert {fault.setup.durable for fault in locked} == {True, False}
    assert all(course_of(fault, Course(1.0, 1.0, 3.0)) == Course(1.0, LOCKED, 3.0) for fault in locked)
    by_default = [fault for fault in FAULTS if fault.setup is PATIENT]
    assert by_default
    assert all(course_of(fault, Course(2.0, 3.0, 7.0)).after == _WATCHED for fault in by_default)
    assert 2 * BreakerSettings().seconds < _WATCHED
    killed = next(fault for fault in FAULTS if fault.at_once)
    assert course_of(killed, Course(2.0, 3.0, 7.0)) == Course(2.0, 0.0, 7.0)


class FakeWorld:
    """Nobody answers there, and nothing is broken."""

    def __init__(self, setup: Setup, log: str = "") -> None:
        self.setup, self.log = setup, log

    def mark(self) -> None:
        pass

    def missing(self, named: Any) -> list[str]:
        return []

    def target(self, *, again: bool = False) -> Target:
        return Target(("http://127.0.0.1:1",), dict.fromkeys(("alpha", "beta", "gamma"), "k"), again)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_fault_that_was_not_felt_is_not_done(at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "FELT_WITHIN", 0.05)
    monkeypatch.setattr(rows, "accounts", lambda made: {})
    monkeypatch.setattr(rows, "account", lambda *_: None)
    ended: list[str] = []

    def row(felt: bool) -> rows.Row:
        fault = Fault(
            "f",
            PLAIN,
            lambda _: None,
            lambda _: ended.append("f"),
            at_once=at_once,
            felt=lambda _: felt,
            unpromised="x",
        )
        pace = Pace(50.0, Course(0.05, 0.05, 0.05))
        return under_fault(FakeWorld(PLAIN), fault, pace, Codes())  # type: ignore[arg-type]

    unfelt, felt = row(False), row(True)
    assert (unfelt.tally, unfelt.reason) == (None, NOT_FELT)
    assert felt.tally is not None
    assert (felt.tally.tries > 0, felt.unpromised) == (True, "x")
    assert ended == ["f", "f"], "it is ended all the same"


@pytest.mark.parametrize(
    ("ahead", "felt"), [((3600, 3600), True), ((3600, 0), False), ((0, 3600), False), ((0, 0), False)]
)
def test_a_clock_is_felt_where_both_dates_of_a_decision_go_by_it(
    ahead: tuple[int, int], felt: bool, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "log.db")) as log:
        log.execute("CREATE TABLE gate_decisions (at REAL, id TEXT)")
        at, named = (time.time() + seconds for seconds in ahead)
        stamp = f"{int(named * 1000):012x}"
        log.execute("INSERT INTO gate_decisions VALUES (?, ?)", (at, f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000"))
        log.commit()
    world = FakeWorld(CLOCK, f"sqlite:///{tmp_path / 'log.db'}")
    assert _at(3600)(world) is felt  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [BREAKER, {}])
def test_a_breaker_that_opens_lets_few_enough_through_and_one_that_does_not_is_noticed(
    settings: Mapping[str, Any],
) -> None:
    """Thirty requests a second, each of which may be sent three times, without a reply after two seconds."""
    now = 0.0
    breaker = Breaker("m", BreakerSettings(**settings), clock=lambda: now, draw=random.Random(1).random)
    felt, ignoring = (Felt(seconds=_SHUT - _SHUT_AFTER) for _ in range(2))
    for request in range(int((_SHUT + 2) * 30)):
        now = request / 30
        if now < 2:
            breaker.succeeded(breaker.admit(request))
            continue
        late = now >= 2 + _SHUT_AFTER
        ignoring.late += late
        for _ in range(3):
            try:
                ticket = breaker.admit(request)
            except UpstreamError:
                break
            felt.late += late
            breaker.failed(ticket, "it failed", request)
    assert not too_many(felt)
    assert too_many(ignoring)
