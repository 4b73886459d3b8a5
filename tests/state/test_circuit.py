"""A store that is down is tried now and then, by one call at a time, and told of once."""

from __future__ import annotations

import logging

import pytest

from gate.state.circuit import Circuit, StoreDown


def test_it_opens_and_tries_again_ever_more_seldom_and_closes(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    circuit = Circuit("Redis at h:1", lambda: now[0])
    caplog.set_level(logging.WARNING)
    circuit.enter()
    circuit.failed("it cannot be reached")
    pauses = []
    for _ in range(7):
        pauses.append(circuit.pause)
        for _ in range(3):
            with pytest.raises(StoreDown, match="it cannot be reached") as caught:
                circuit.enter()
            assert caught.value.unsent
        now[0] += circuit.pause
        circuit.enter()
        with pytest.raises(StoreDown):
            circuit.enter()  # one tries; the others wait for what comes of it
        circuit.failed("it cannot be reached")
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    assert (circuit.up, circuit.failures) == (False, 8)
    assert [record.getMessage() for record in caplog.records] == [
        "the shared store cannot be used: Redis at h:1: it cannot be reached"
    ]
    circuit.succeeded()
    circuit.succeeded()
    circuit.enter()
    assert (circuit.up, circuit.pause, circuit.cause) == (True, 0, "")
    assert "can be used again: Redis at h:1, after" in caplog.records[1].getMessage()
    assert len(caplog.records) == 2
    circuit.failed("again")
    assert circuit.pause == pytest.approx(0.1), "it begins anew"


def test_a_call_that_tries_and_never_ends_keeps_nobody_out_for_long() -> None:
    now = [0.0]
    circuit = Circuit("x", lambda: now[0])
    circuit.failed("gone")
    now[0] += 0.11
    circuit.enter()  # cancelled, say: neither answered nor failed
    now[0] += 0.11
    circuit.enter()


def test_one_answer_that_does_not_come_in_time_keeps_nobody_out_and_a_second_does() -> None:
    now = [10.0]
    circuit = Circuit("x", lambda: now[0])
    for _ in range(3):
        circuit.failed("late", waited=0.25)  # together: of one and the same moment
    assert (circuit.up, circuit.failures) == (True, 3)
    now[0] += 0.2
    circuit.failed("late", waited=0.25)
    assert circuit.up, "it was made before the first was given up"
    circuit.succeeded()
    now[0] += 1
    circuit.failed("late", waited=0.25)
    assert circuit.up, "one was answered meanwhile"
    now[0] += 0.3
    circuit.failed("late", waited=0.25)
    assert (circuit.up, circuit.cause) == (False, "late")
    circuit.succeeded()
    circuit.failed("gone")
    assert not circuit.up, "whoever refuses is down at once"


def test_where_who_asks_tells_of_it_the_log_does_not(caplog: pytest.LogCaptureFixture) -> None:
    circuit = Circuit("Redis at h:1")
    circuit.quiet = True
    circuit.failed("it cannot be reached")
    circuit.succeeded()
    assert not caplog.records
