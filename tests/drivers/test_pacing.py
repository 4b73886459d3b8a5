"""An endpoint that asks for time has it, from all who ask; and then they do not all come at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.drivers.pacing import Pace, spread
from gate.errors import UpstreamError

FAR = float("inf")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def paced(clock: Clock, draw: float = 0.0) -> Pace:
    return Pace("main", clock=clock, draw=lambda: draw)


def test_nobody_asks_before_the_time_it_asked_for_is_over() -> None:
    clock = Clock()
    pace = paced(clock)
    assert (pace.pause(FAR), pace.free) == (0.0, True)
    pace.refused(2.5)
    assert (pace.pause(FAR), pace.free) == (2.5, False)
    clock.now += 1
    pace.refused(1.0)
    assert pace.pause(FAR) == 1.5, "the later of the two"
    clock.now += 1.5
    assert (pace.pause(FAR), pace.free) == (0.0, True)


def test_a_wait_that_would_not_end_in_time_is_an_error_at_once() -> None:
    clock = Clock()
    pace = paced(clock)
    pace.refused(3.0)
    with pytest.raises(UpstreamError) as caught:
        pace.pause(clock.now + 3)
    error = caught.value
    assert error.cause == "wants not to be asked for another 3 s"
    assert (error.status, error.retry_after, error.unsent, error.retryable) == (429, 3.0, True, False)


@pytest.mark.parametrize("told", [30.0, 86_400.0, 1e300])
def test_one_request_that_is_refused_waits_and_all_others_for_three_seconds_only(told: float) -> None:
    clock = Clock()
    pace = paced(clock)
    for _ in range(20):
        pace.refused(told, "large")
    assert pace.pause(FAR, "large") == min(told, 60)
    assert pace.pause(FAR, "small") == pace.pause(FAR) == 3
    clock.now += 3
    assert pace.pause(FAR, "small") == pace.pause(FAR) == 0
    assert pace.pause(FAR, "large") == min(told, 60) - 3


def hold(pace: Pace, seconds: float) -> None:
    for each in "abc":
        pace.refused(seconds, each)


def held(pace: Pace, clock: Clock) -> float:
    with pytest.raises(UpstreamError) as caught:
        pace.pause(clock.now)
    assert caught.value.retry_after == 3, "then one is let through"
    return float(caught.value.cause.split()[-2])


def test_where_different_ones_are_refused_all_wait_for_a_minute_at_most() -> None:
    clock = Clock()
    pace = paced(clock)
    hold(pace, 86_400)
    assert held(pace, clock) == 60


def test_meanwhile_one_is_let_through_every_three_seconds_and_if_it_is_answered_all_are() -> None:
    clock = Clock()
    pace = paced(clock)
    early = pace.refusals
    hold(pace, 40)
    for left in (40, 37, 34):
        assert held(pace, clock) == left
        assert pace.pause(FAR) == 3, "to look again then"
        clock.now += 3
        assert pace.pause(FAR, "a") == left - 3, "not one that was refused itself"
        assert pace.pause(FAR, "d") == 0
    pace.answered(early)
    assert held(pace, clock) == 31, "what was sent before says nothing"
    pace.answered(pace.refusals)
    assert pace.pause(FAR) == 0
    assert pace.pause(FAR, "a") == 31
    pace.refused(40, "e")
    assert held(pace, clock) == 3, "it is one alone again"


def test_what_is_remembered_of_those_refused_is_bounded() -> None:
    clock = Clock()
    pace = paced(clock)
    for number in range(2000):
        pace.refused(50.0, number)
    assert len(pace._own) <= 256
    assert pace.pause(FAR, 1999) == 50


def test_without_a_time_the_third_refusal_in_a_row_and_further_ones_make_all_wait_longer_and_longer() -> None:
    clock = Clock()
    pace, waits = paced(clock), []
    for _ in range(10):
        pace.refused(None)
        waits.append(pace.pause(FAR))
        clock.now += waits[-1]
        assert pace.pause(FAR) == 0, "it is asked"
    assert waits == [0, 0, 0.25, 0.5, 1, 2, 3, 3, 3, 3], "by then one is let through"
    assert held(pace, clock) == 5
    pace.answered(pace.refusals)
    pace.refused(None)
    assert pace.pause(FAR) == 0


@given(st.floats(0.01, 60), st.floats(0, 0.999), st.floats(0.01, 100))
def test_the_wait_is_never_shorter_than_asked_nor_past_the_deadline(seconds: float, draw: float, room: float) -> None:
    clock = Clock()
    pace = paced(clock, draw)
    hold(pace, seconds)
    left = clock.now + seconds - clock.now  # as floats have it
    until = clock.now + room
    if until - clock.now - left <= 0:
        with pytest.raises(UpstreamError):
            pace.pause(until)
    else:
        pause = pace.pause(until)
        assert min(left, 3) <= pause <= left + spread(seconds) + 1e-9
        assert clock.now + pause < until


def test_how_far_they_are_spread_is_bounded() -> None:
    assert [spread(seconds) for seconds in (0.0, 1.0, 10.0, 3600.0)] == [0, 0.5, 5, 5]
