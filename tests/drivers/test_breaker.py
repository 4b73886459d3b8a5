"""The circuit breaker: when it opens and for how long, one call at a time that tries, and whatever happens at once."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import timeit
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from gate.drivers.breaker import Breaker, State
from gate.endpoint_settings import BreakerSettings
from gate.errors import UpstreamError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock, draw: float = 1.0, **said: Any) -> Breaker:
    return Breaker("main", BreakerSettings(**said), clock=clock, draw=lambda: draw)


def fails(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(breaker.admit(), "refused with status 500")


def refused(breaker: Breaker) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        breaker.admit()
    return caught.value


def test_so_many_failures_in_a_row_open_it_and_calls_then_fail_at_once() -> None:
    clock = Clock()
    breaker = made(clock, failures=3, seconds=10)
    fails(breaker, 2)
    breaker.succeeded(breaker.admit())
    fails(breaker, 2)
    assert breaker.closed
    fails(breaker)
    assert (breaker.state, breaker.opened, breaker.seconds_left) == (State.OPEN, 1, 10.0)
    clock.now += 3.5
    error = refused(breaker)
    said = "is not asked for another 7 s: it failed 3 times in a row (last: refused with status 500)"
    assert error.cause == said
    assert (error.status, error.retry_after, error.unsent, error.retryable) == (503, 6.5, True, False)
    assert breaker.why == "it failed 3 times in a row (last: refused with status 500)"


def test_one_call_at_a_time_tries_and_what_it_finds_decides() -> None:
    clock = Clock()
    breaker = made(clock, failures=1, seconds=10, most_seconds=30)
    fails(breaker)
    for seconds in (20, 30, 30):
        clock.now += breaker.seconds_left
        ticket = breaker.admit()
        assert "while another call tries whether it answers" in str(refused(breaker))
        breaker.failed(ticket, "broke the connection off")
        assert breaker.seconds_left == seconds, "twice as long each time, up to the most"
    clock.now += 30
    ticket = breaker.admit()
    breaker.abandoned(ticket)  # its caller went away: the next one tries
    again = breaker.admit()
    breaker.succeeded(ticket)
    assert breaker.state is State.HALF_OPEN, "the one that went away says nothing"
    breaker.succeeded(again)
    assert (breaker.state, breaker.opened, breaker.why) == (State.CLOSED, 4, "")
    fails(breaker)
    assert breaker.seconds_left == 10, "it begins anew"


def test_chance_takes_up_to_a_quarter_off_so_that_not_all_processes_try_at_once() -> None:
    clock = Clock()
    for draw, seconds in ((0.0, 7.5), (0.5, 8.75), (1.0, 10.0)):
        breaker = made(clock, draw, failures=1, seconds=10)
        fails(breaker)
        assert breaker.seconds_left == seconds


def test_a_share_of_failures_within_the_window_opens_it_too() -> None:
    clock = Clock()
    breaker = made(clock, failures=99, share=0.5, within=10, least=6)
    for _ in range(3):
        breaker.succeeded(breaker.admit())
        fails(breaker)
        clock.now += 1
    assert (breaker.state, breaker.why) == (
        State.OPEN,
        "it failed 3 of 6 times within 10 s (last: refused with status 500)",
    )
    breaker = made(clock, failures=99, share=0.5, within=10, least=6)
    for _ in range(9):
        breaker.succeeded(breaker.admit())
        fails(breaker)
        clock.now += 5  # never six of them within ten seconds
    assert breaker.closed


def test_what_began_before_it_opened_is_not_counted_behind_it() -> None:
    clock = Clock()
    breaker = made(clock, failures=2, seconds=10)
    early = [breaker.admit() for _ in range(4)]
    for ticket in early[:2]:
        breaker.failed(ticket, "no")
    breaker.succeeded(early[2])
    assert breaker.state is State.OPEN
    clock.now += 10
    trying = breaker.admit()
    breaker.failed(early[3], "no")
    breaker.succeeded(early[2])
    assert breaker.state is State.HALF_OPEN
    breaker.succeeded(trying)
    breaker.failed(early[3], "no")
    fails(breaker)
    assert breaker.closed, "one failure since it was closed"


def test_each_change_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    caplog.set_level(logging.INFO, "gate.drivers.breaker")
    breaker = made(clock, failures=2, seconds=10)
    fails(breaker, 2)
    for _ in range(5):
        refused(breaker)
    clock.now += 10
    ticket = breaker.admit()
    for _ in range(5):
        refused(breaker)
    breaker.succeeded(ticket)
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
        (
            "WARNING",
            "upstream 'main' is not asked for 10.0 s: it failed 2 times in a row (last: refused with status 500)",
        ),
        ("INFO", "upstream 'main' is tried again"),
        ("INFO", "upstream 'main' answers again"),
    ]


def test_many_threads_at_once_let_one_through_when_it_is_tried() -> None:
    clock = Clock()
    breaker = made(clock, failures=1, seconds=10)
    fails(breaker)
    clock.now += 10
    begin, let_in = threading.Barrier(16), []

    def tries() -> None:
        begin.wait()
        with contextlib.suppress(UpstreamError):
            let_in.append(breaker.admit())

    threads = [threading.Thread(target=tries) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(let_in) == 1


def test_while_it_is_closed_it_costs_next_to_nothing() -> None:
    breaker = Breaker("main", BreakerSettings())

    def call() -> None:
        breaker.succeeded(breaker.admit())

    microseconds = min(timeit.repeat(call, number=2000, repeat=20)) / 2000 * 1e6
    assert microseconds < 5  # about half a microsecond; the machine may be busy


# --- requests that are to blame ------------------------------------------------------------------------------------


def errs(breaker: Breaker, request: object, *, replied: bool = True) -> None:
    breaker.failed(breaker.admit(request), "refused with status 500", request, replied=replied)


def test_a_request_counts_once_however_often_it_fails() -> None:
    clock = Clock()
    breaker = made(clock, failures=3, errors=3, least=4, share=0.1)
    for _ in range(100):
        for request in ("a", "b"):
            errs(breaker, request)
            errs(breaker, request, replied=False)
        clock.now += 1
    assert breaker.closed
    errs(breaker, "c", replied=False)
    assert not breaker.closed


def test_replies_that_are_errors_open_it_where_many_different_ones_fail_for_a_while_and_none_is_answered() -> None:
    clock = Clock()
    breaker = made(clock)
    for number in range(50):
        errs(breaker, number)
    assert breaker.closed, "all in one moment"
    clock.now += 3
    errs(breaker, 50)
    assert breaker.why == "51 different requests in a row failed (last: refused with status 500)"


@pytest.mark.parametrize("share", [0.2, 0.5, 0.85])
@pytest.mark.parametrize("seed", range(20))
def test_whoever_sends_what_it_cannot_stand_shuts_it_to_nobody(share: float, seed: int) -> None:
    clock, chance = Clock(), random.Random(seed)
    breaker = made(clock)
    for number in range(3000):
        clock.now += chance.expovariate(20)
        if chance.random() < share:
            for _ in range(4):
                errs(breaker, number)
        else:
            breaker.succeeded(breaker.admit(-number))
    assert breaker.opened == 0


def opened_by_errors(clock: Clock) -> Breaker:
    breaker = made(clock, errors=2, within=0.1, seconds=10)
    errs(breaker, "a")
    clock.now += 0.05
    errs(breaker, "b")
    assert breaker.seconds_left == 10
    clock.now += 10
    return breaker


def test_what_has_failed_does_not_try_it_first_and_comes_to_try_where_nobody_else_does() -> None:
    clock = Clock()
    breaker = opened_by_errors(clock)
    for request in ("a", "b"):
        with pytest.raises(UpstreamError, match="by what has failed before others have tried"):
            breaker.admit(request)
    breaker.succeeded(breaker.admit("c"))
    assert breaker.closed
    breaker = opened_by_errors(clock)
    clock.now += 10
    breaker.succeeded(breaker.admit("a"))
    assert breaker.closed


def test_one_that_tries_and_gets_an_error_leaves_the_next_to_try() -> None:
    clock = Clock()
    breaker = opened_by_errors(clock)
    errs(breaker, "c")
    errs(breaker, "d")
    assert breaker.state is State.HALF_OPEN
    breaker.succeeded(breaker.admit("e"))
    assert (breaker.state, breaker.opened) == (State.CLOSED, 1)
    breaker = opened_by_errors(clock)
    for request in "cde":
        errs(breaker, request)
    assert (breaker.state, breaker.seconds_left) == (State.OPEN, 20)


def test_what_it_remembers_of_requests_is_bounded() -> None:
    breaker = made(Clock())
    for number in range(5000):
        errs(breaker, number)
    assert len(breaker._failed) == len(breaker._row) == 1000


# --- against a model ---------------------------------------------------------------------------------------------

RULES = BreakerSettings(failures=3, share=0.5, within=10, least=5, seconds=4, most_seconds=10)


@dataclass
class Model:
    """The same by plain bookkeeping: every call with its time."""

    state: State = State.CLOSED
    row: int = 0
    calls: deque[tuple[int, bool]] = field(default_factory=deque)
    until: float = 0.0
    in_vain: int = 0
    period: int = 0
    """Changes with the state: calls of another period do not count."""
    trying: bool = False

    def ended(self, now: float, period: int, failed: bool | None) -> None:
        if period != self.period:
            return
        if self.state is State.HALF_OPEN:
            if failed is None:
                self.trying = False
            elif failed:
                self.open(now)
            else:
                self.__init__(period=self.period + 1)  # type: ignore[misc]
        elif failed is not None:
            self.row = self.row + 1 if failed else 0
            self.calls.append((int(now), failed))  # slices of the window are one second long
            bad = sum(each for at, each in self.calls if at > int(now) - 10)
            all_ = sum(at > int(now) - 10 for at, _ in self.calls)
            if failed and (self.row >= 3 or (all_ >= 5 and bad >= 0.5 * all_)):
                self.open(now)

    def open(self, now: float) -> None:
        self.state, self.until, self.trying = State.OPEN, now + min(10.0, 4.0 * 2**self.in_vain), False
        self.in_vain += 1
        self.period += 1

    def admits(self, now: float) -> bool:
        if self.state is State.OPEN and now >= self.until:
            self.state = State.HALF_OPEN
        if self.state is State.HALF_OPEN and not self.trying:
            self.trying = True
            self.period += 1
            return True
        return self.state is State.CLOSED


class AgainstTheModel(RuleBasedStateMachine):
    under_way = Bundle("under_way")

    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        self.breaker = Breaker("main", RULES, clock=self.clock, draw=lambda: 1.0)
        self.model = Model()

    @rule(target=under_way)
    def call(self) -> tuple[int, int] | None:
        expected = self.model.admits(self.clock.now)
        try:
            ticket = self.breaker.admit()
        except UpstreamError:
            assert not expected
            return None
        assert expected
        return ticket, self.model.period

    @rule(each=consumes(under_way), failed=st.sampled_from([True, True, False, None]))
    def end(self, each: tuple[int, int] | None, failed: bool | None) -> None:
        if each is None:
            return
        self.model.ended(self.clock.now, each[1], failed)
        if failed is None:
            self.breaker.abandoned(each[0])
        elif failed:
            self.breaker.failed(each[0], "no")
        else:
            self.breaker.succeeded(each[0])

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "model"):
            assert self.breaker.state is self.model.state
            if self.model.state is State.OPEN:
                assert self.breaker.seconds_left == max(0.0, self.model.until - self.clock.now)


AgainstTheModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgainstTheModel = AgainstTheModel.TestCase
