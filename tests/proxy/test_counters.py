"""Rates, spending and what is under way: kept in any order of events, by threads, by processes, over restarts."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.proxy.counter_file import CounterFile
from gate.proxy.counters import _FRESH, Counters
from gate.proxy.counting import Refused, Taken
from gate.proxy.keys import Rate, Spend

FREE = Rate()
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0


class Clock:
    """Both clocks, set by hand."""

    def __init__(self) -> None:
        self.up, self.wall = 1000.0, NOON

    def pass_(self, seconds: float) -> None:
        self.up += seconds
        self.wall += seconds


@contextmanager
def counting(clock: Clock, folder: Path | None = None) -> Iterator[Counters]:
    file = CounterFile.open(folder, _FRESH)
    with closing(Counters(file, monotonic=lambda: clock.up, wall=lambda: clock.wall)) as counters:
        yield counters


def taken(found: Taken | Refused) -> Taken:
    assert isinstance(found, Taken), found
    return found


def refused(found: Taken | Refused) -> tuple[str, float | None]:
    assert isinstance(found, Refused), found
    return found.short_of, None if found.seconds is None else round(found.seconds, 6)


# --- a minute ----------------------------------------------------------------------------------------------------


def test_a_minutes_requests_may_come_at_once_and_then_one_by_one() -> None:
    clock = Clock()
    rate = Rate(requests_per_minute=6)
    with counting(clock) as counters:
        left = [taken(counters.take("a", rate)).standing.requests for _ in range(6)]
        assert left == [5, 4, 3, 2, 1, 0]
        assert refused(counters.take("a", rate)) == ("requests", 10)
        clock.pass_(7)
        assert refused(counters.take("a", rate)) == ("requests", 3)
        clock.pass_(3)
        taken(counters.take("a", rate))
        assert refused(counters.take("a", rate)) == ("requests", 10)
        clock.pass_(1e6)
        assert counters.standing("a", rate).requests == 6
        taken(counters.take("b", rate))
        assert counters.standing("b", rate).requests == 5


def test_tokens_are_charged_as_estimated_and_corrected_after() -> None:
    clock = Clock()
    rate = Rate(tokens_per_minute=600)
    with counting(clock) as counters:
        first = taken(counters.take("a", rate, tokens=400))
        assert first.standing.tokens == 200
        assert refused(counters.take("a", rate, tokens=300)) == ("tokens", 10)
        counters.settle(first, 100, 0)
        assert counters.standing("a", rate).tokens == 500
        second = taken(counters.take("a", rate, tokens=300))
        counters.settle(second, 900, 0)
        assert counters.standing("a", rate).tokens == -400, "owed"
        assert refused(counters.take("a", rate)) == ("tokens", 40.1)
        clock.pass_(40.2)
        taken(counters.take("a", rate))
        assert refused(counters.take("a", rate, tokens=601)) == ("tokens", None), "more than a minute ever has"
        assert counters.usage("a").total.tokens == 1000


def test_what_is_refused_takes_nothing() -> None:
    rate = Rate(requests_per_minute=5, tokens_per_minute=10, concurrency=1)
    with counting(Clock()) as counters:
        assert refused(counters.take("a", rate, tokens=11)) == ("tokens", None)
        assert refused(counters.take("a", rate, Spend(limit=1, per="day"), money=1.1)) == ("money", 12 * HOUR)
        held = counters.standing("a", rate)
        assert (held.requests, held.tokens, held.under_way) == (5, 10, 0)
        assert counters.usage("a").total.requests == 0


def test_a_limit_that_changes_holds_at_once() -> None:
    with counting(Clock()) as counters:
        taken(counters.take("a", FREE))
        assert counters.standing("a", FREE).requests == math.inf
        assert taken(counters.take("a", Rate(requests_per_minute=100))).standing.requests == 99
        assert taken(counters.take("a", Rate(requests_per_minute=10))).standing.requests == 9


def test_a_monotonic_clock_that_begins_anew_gives_nothing_away() -> None:
    clock = Clock()
    rate = Rate(requests_per_minute=60)
    with counting(clock) as counters:
        for _ in range(60):
            taken(counters.take("a", rate))
        clock.up = 3.0
        assert refused(counters.take("a", rate)) == ("requests", 1)
        clock.up = 4.0
        taken(counters.take("a", rate))


EVENTS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.01, 0.5, 1.0, 7.0, 61.0]), st.integers(0, 12)), min_size=1, max_size=60
)


@given(EVENTS, st.integers(1, 8), st.integers(1, 30))
def test_no_window_of_time_gets_more_than_its_rate_and_one_minutes_worth(
    events: list[tuple[float, int]], per_minute: int, tokens_per_minute: int
) -> None:
    clock = Clock()
    rate = Rate(requests_per_minute=per_minute, tokens_per_minute=tokens_per_minute)
    got: list[tuple[float, int, int]] = []
    with counting(clock) as counters:
        for gap, tokens in events:
            clock.pass_(gap)
            found = counters.take("a", rate, tokens=tokens)
            if isinstance(found, Taken):
                got.append((clock.up, 1, tokens))
            elif found.seconds is not None:
                clock.pass_(found.seconds + 1e-6)
                later = counters.take("a", rate, tokens=tokens)
                assert isinstance(later, Taken) or later.short_of != found.short_of, "the wait told is long enough"
                if isinstance(later, Taken):
                    got.append((clock.up, 1, tokens))
    for kind, cap in ((1, per_minute), (2, tokens_per_minute)):
        sums = [0, *accumulate(event[kind] for event in got)]
        for i, first in enumerate(got):
            for j in range(i, len(got)):
                allowed = cap + cap / 60 * (got[j][0] - first[0])
                assert sums[j + 1] - sums[i] <= allowed + 1e-6


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["settle", "give back", "nothing"]),
            st.integers(0, 50),
            st.integers(0, 50),
            st.integers(0, 10**6),
            st.integers(0, 10**6),
        ),
        max_size=30,
    )
)
def test_usage_is_the_sum_of_what_was_served(
    requests: list[tuple[str, int, int, int, int]],
) -> None:
    served = tokens = millionths = 0
    with counting(Clock()) as counters:
        for end, estimated, real, guessed, paid in requests:
            one = taken(counters.take("a", FREE, tokens=estimated, money=guessed / 1e6))
            if end == "give back":
                counters.give_back(one)
                continue
            if end == "settle":
                counters.settle(one, real, paid / 1e6)
                counters.settle(one, 10**6, 10**6)
                counters.give_back(one)
            served, tokens = served + 1, tokens + (real if end == "settle" else estimated)
            millionths += paid if end == "settle" else guessed
        usage = counters.usage("a")
        for window in (usage.day, usage.month, usage.total):
            assert (window.requests, window.tokens) == (served, tokens)
            assert window.money == pytest.approx(millionths / 1e6, abs=1e-9 * len(requests))
        assert usage.under_way == [end for end, *_ in requests].count("nothing")


def test_what_is_given_back_is_as_if_it_had_never_been() -> None:
    rate = Rate(requests_per_minute=2, tokens_per_minute=100, concurrency=1)
    with counting(Clock()) as counters:
        before = counters.standing("a", rate)
        counters.give_back(taken(counters.take("a", rate, tokens=100)))
        assert counters.standing("a", rate) == before
        assert counters.usage("a").total.requests == 0


# --- days, months, ever ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per", "wait", "hours"), [("day", 12 * HOUR, 12), ("month", 12 * HOUR, 12), ("total", None, 24 * 3000)]
)
def test_money_is_spent_once_in_its_window(per: str, wait: float | None, hours: float) -> None:
    clock = Clock()
    spend = Spend(limit=2, per=per)  # type: ignore[arg-type]
    with counting(clock) as counters:
        for _ in range(2):
            counters.settle(taken(counters.take("a", FREE, spend, money=0.5)), 10, 1.0)
        assert refused(counters.take("a", FREE, spend)) == ("money", wait)
        clock.pass_(hours * HOUR)
        if per == "total":
            assert refused(counters.take("a", FREE, spend)) == ("money", None)
        else:
            taken(counters.take("a", FREE, spend, money=2.0))
            assert refused(counters.take("a", FREE, spend))[0] == "money"


@pytest.mark.parametrize(("at", "until"), [("2026-12-05", "2027-01-01"), ("2028-02-01", "2028-03-01")])
def test_a_month_ends_with_its_last_day(at: str, until: str) -> None:
    clock = Clock()
    clock.wall, end = (datetime.fromisoformat(each).replace(tzinfo=UTC).timestamp() for each in (at, until))
    with counting(clock) as counters:
        assert refused(counters.take("a", FREE, Spend(limit=1, per="month"), money=2)) == ("money", end - clock.wall)


def test_a_request_over_midnight_is_corrected_where_it_was_charged() -> None:
    clock = Clock()
    with counting(clock) as counters:
        cheap, dear = (taken(counters.take("a", FREE, tokens=100, money=1.0)) for _ in range(2))
        clock.pass_(13 * HOUR)  # also into February
        counters.settle(cheap, 40, 0.25)
        counters.settle(dear, 150, 1.5)
        usage = counters.usage("a")
        assert (usage.day.requests, usage.day.tokens, usage.day.money) == (0, 50, 0.5)
        assert usage.month == usage.day
        assert (usage.total.requests, usage.total.tokens, usage.total.money) == (2, 190, 1.75)


def test_a_clock_set_back_over_midnight_gives_no_day_twice_and_one_far_ahead_is_forgotten() -> None:
    clock = Clock()
    with counting(clock) as counters:
        taken(counters.take("a", FREE, money=1))
        clock.wall -= 13 * HOUR
        taken(counters.take("a", FREE, money=1))
        assert (counters.usage("a").day.money, counters.usage("a").month.money) == (2, 2)
        clock.wall += 10**9
        assert counters.usage("a").day.money == 0
        taken(counters.take("a", FREE, money=5))
        clock.wall -= 10**9
        assert counters.usage("a").day.money == 0
        assert counters.usage("a").total.money == 7


def test_small_sums_add_up_exactly() -> None:
    spend = Spend(limit=0.001, per="total")
    with counting(Clock()) as counters:
        for _ in range(1000):
            counters.settle(taken(counters.take("a", FREE, spend)), 1, 1e-6)
        assert counters.usage("a").total.money == 0.001
        assert refused(counters.take("a", FREE, spend)) == ("money", None)


def test_restarts_lose_nothing_but_what_was_under_way(tmp_path: Path) -> None:
    clock = Clock()
    rate, spend = Rate(requests_per_minute=2, concurrency=1), Spend(limit=1, per="day")
    with counting(clock, tmp_path) as counters:
        taken(counters.take("a", rate, spend, tokens=7, money=0.75))
        assert refused(counters.take("a", rate)) == ("concurrency", None)
    with counting(clock, tmp_path) as counters:
        assert counters.standing("a", rate).requests == 1
        assert counters.usage("a").day.tokens == 7
        assert refused(counters.take("a", rate, spend, money=0.5)) == ("money", 12 * HOUR)
        taken(counters.take("a", rate, spend, money=0.25))


def test_several_workers_need_a_folder() -> None:
    Counters.open(None).close()
    with pytest.raises(ConfigError, match="a folder for its 'state'"):
        Counters.open(None, workers=2)


# --- at once -----------------------------------------------------------------------------------------------------


def test_threads_lose_nothing() -> None:
    rate = Rate(requests_per_minute=500)
    clock = Clock()
    with counting(clock) as counters:
        got: list[Taken] = []

        def ask() -> None:
            for _ in range(100):
                found = counters.take("a", rate, tokens=3, money=0.001)
                if isinstance(found, Taken):
                    got.append(found)
                    counters.settle(found, 2, 0.002)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        usage = counters.usage("a")
        assert len(got) == usage.total.requests == 500
        assert (usage.total.tokens, usage.total.money, usage.under_way) == (1000, 1.0, 0)


WORKER = """
import sys, time
from pathlib import Path
from gate.proxy.counters import Counters
from gate.proxy.counting import Taken
from gate.proxy.keys import Rate

counters = Counters.open(Path(sys.argv[1]))
rate = Rate(requests_per_minute=int(sys.argv[2]), concurrency=int(sys.argv[3]) or None)
print("ready", flush=True)
sys.stdin.readline()
asked = got = 0
while asked < 4000:
    asked += 1
    found = counters.take("a", rate, tokens=3, money=0.001)
    if isinstance(found, Taken):
        got += 1
        if not rate.concurrency:
            counters.settle(found, 2, 0.002)
print(got, flush=True)
sys.stdin.read()
"""


@contextmanager
def workers(folder: Path, per_minute: int, concurrency: int = 0) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that ask 4,000 times each, begun at once."""
    command = [sys.executable, "-c", WORKER, str(folder), str(per_minute), str(concurrency)]
    root = Path(__file__).parents[2]
    made = [
        subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        assert [said(each) for each in made] == ["ready", "ready"]
        for each in made:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        yield made
    finally:
        for each in made:
            each.kill()
            each.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_processes_keep_one_limit_together(tmp_path: Path) -> None:
    began = time.monotonic()
    with workers(tmp_path, 600) as both:
        got = [int(said(each)) for each in both]
        passed = time.monotonic() - began
    assert 600 <= sum(got) <= 600 + math.ceil(10 * passed)
    with closing(Counters.open(tmp_path)) as counters:
        usage = counters.usage("a")
    assert (usage.total.requests, usage.total.tokens) == (sum(got), 2 * sum(got))
    assert usage.total.money == pytest.approx(0.002 * sum(got))
    assert usage.under_way == 0


def test_what_killed_workers_had_under_way_is_free_again(tmp_path: Path) -> None:
    rate = Rate(requests_per_minute=10**6, concurrency=30)
    with workers(tmp_path, 10**6, 30) as both, closing(Counters.open(tmp_path)) as counters:
        assert sum(int(said(each)) for each in both) == 30
        assert refused(counters.take("a", rate)) == ("concurrency", None)
        both[0].send_signal(signal.SIGKILL)
        both[1].send_signal(signal.SIGKILL)
        for each in both:
            each.wait(10)
        counters._file._looked.clear()  # it had just looked
        assert taken(counters.take("a", rate)).standing.under_way == 1
        assert counters.usage("a").total.requests == 31, "what was charged stays"
