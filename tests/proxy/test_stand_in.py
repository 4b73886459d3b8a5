"""Counting alone while the store is away: from where it left off, and no better for those who come and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from gate.proxy.counter_file import CounterFile
from gate.proxy.counter_store import Asked, Found
from gate.proxy.counters import _FRESH, Counters
from gate.proxy.counting import Refused, Taken
from gate.proxy.keys import Rate, Spend
from gate.proxy.stand_in import StandIn
from tests.proxy.test_counters import NOON, Clock

ASKED = Asked("w-1", "a", Rate(requests_per_minute=6, concurrency=2), Spend(limit=1, per="day"), 0, 0, 15)
DAY, MONTH = int(NOON // 86_400), 2026 * 12 + 1
NOBODY: Counter[str] = Counter()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alone(clock: Clock) -> Iterator[StandIn]:
    counters = Counters(CounterFile.open(None, _FRESH), monotonic=lambda: clock.up, wall=lambda: clock.wall)
    with closing(StandIn(counters)) as made:
        yield made


def test_a_name_that_the_store_never_spoke_of_has_its_whole_minute(alone: StandIn) -> None:
    got = [alone.take(ASKED, None, 0, NOBODY) for _ in range(7)]
    assert [isinstance(each, Taken) for each in got] == [True] * 6 + [False]
    assert alone.let_in == 6


def test_it_goes_on_from_what_the_store_last_said_and_not_from_there_again(alone: StandIn, clock: Clock) -> None:
    last = Found(None, 2.0, 0, 0, NOON, DAY, MONTH, (900_000_000, 10**12, 10**12)), 50.0
    taken = alone.take(ASKED, last, 60.0, NOBODY)
    assert isinstance(taken, Taken)
    assert taken.standing.requests == pytest.approx(2), "one flowed in in ten seconds, one was taken"
    assert alone.end(taken, 0, 0.0) is True
    dear = replace(ASKED, nanos=200_000_000)
    short = alone.take(dear, last, 60.0, NOBODY)
    assert isinstance(short, Refused)
    assert short.short_of == "money"
    assert isinstance(alone.take(replace(dear, nanos=100_000_000), last, 60.0, NOBODY), Taken)
    assert isinstance(alone.take(ASKED, last, 60.0, NOBODY), Refused), "its dollar is spent"
    clock.pass_(13 * 3600)
    assert isinstance(alone.take(dear, last, 60.0, NOBODY), Taken), "a new day"
    newer = (replace(last[0], requests=0.0), 61.0)
    assert isinstance(alone.take(replace(ASKED, spend=None), newer, 61.0, NOBODY), Refused)


def test_what_is_under_way_here_counts_whoever_let_it_in(alone: StandIn) -> None:
    busy = alone.take(ASKED, None, 0, Counter({"a": 2}))
    assert isinstance(busy, Refused)
    assert (busy.short_of, busy.standing.under_way) == ("concurrency", 2)
    assert isinstance(alone.take(ASKED, None, 0, Counter({"a": 1, "b": 9})), Taken)


def test_ends_are_its_own_once_and_tell_whether_the_store_is_to_know(alone: StandIn) -> None:
    first, second = (alone.take(replace(ASKED, ticket=each), None, 0, NOBODY) for each in ("w-1", "w-2"))
    assert isinstance(first, Taken)
    assert isinstance(second, Taken)
    assert (alone.end(first, 5, 0.5), alone.end(first, 5, 0.5)) == (True, None)
    assert alone.end(second, None, 0.0) is False
    third = alone.take(replace(ASKED, ticket="w-3", nanos=500_000_000), None, 0, NOBODY)
    assert isinstance(third, Taken)
    assert third.standing.requests == pytest.approx(4), "the second was given back"
