"""What is counted, by whom it may be: one set of tests for this machine's own counts, and those in Redis or PostgreSQL.

Each is compared with a plain model over any order of events, also with clocks that are set back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.proxy.counting import Refused, Taken, nanos_of
from gate.proxy.keys import Rate, Spend
from tests.proxy.counting_houses import HOUR, NOON, Here, House, new_name, shared

FREE = Rate()


@pytest.fixture(scope="module", params=["here", "redis", "postgresql"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    if request.param == "here":
        with closing(Here()) as here:
            yield here
    elif request.param == "redis":
        with shared(request.getfixturevalue("redis").url) as counted:
            yield counted
    else:
        with shared(request.getfixturevalue("database")) as counted:
            yield counted


@pytest.fixture
def name(house: House) -> str:
    house.at(NOON)
    return new_name()


def taken(found: Taken | Refused) -> Taken:
    assert isinstance(found, Taken), found
    return found


def refused(found: Taken | Refused) -> tuple[str, float | None]:
    assert isinstance(found, Refused), found
    return found.short_of, None if found.seconds is None else round(found.seconds, 6)


@pytest.mark.parametrize(
    ("money", "nanos"), [(0.0, 0), (-1.0, 0), (1e-9, 1), (1.5e-9, 2), (0.1 + 0.2, 300_000_000), (1e9, 10**18)]
)
def test_money_is_rounded_up_to_billionths(money: float, nanos: int) -> None:
    assert nanos_of(money) == nanos


# --- a minute ----------------------------------------------------------------------------------------------------


def test_a_minutes_requests_may_come_at_once_and_then_one_by_one(house: House, name: str) -> None:
    rate = Rate(requests_per_minute=6)
    left = [taken(house.take(name, rate)).standing.requests for _ in range(6)]
    assert left == [5, 4, 3, 2, 1, 0]
    assert refused(house.take(name, rate)) == ("requests", 10)
    house.at(NOON + 7)
    assert refused(house.take(name, rate)) == ("requests", 3)
    house.at(NOON + 10)
    taken(house.take(name, rate))
    house.at(NOON + 1e6)
    assert house.standing(name, rate).requests == 6
    assert house.standing(new_name(), rate).requests == 6


def test_tokens_are_charged_as_estimated_and_corrected_after(house: House, name: str) -> None:
    rate = Rate(tokens_per_minute=600)
    first = taken(house.take(name, rate, tokens=400))
    assert (first.standing.tokens, first.standing.requests) == (200, math.inf)
    assert refused(house.take(name, rate, tokens=300)) == ("tokens", 10)
    house.settle(first, 100, 0)
    house.settle(first, 10**6, 10**6)
    house.give_back(first)
    second = taken(house.take(name, rate, tokens=300))
    house.settle(second, 900, 0)
    assert house.standing(name, rate).tokens == -400, "owed"
    assert refused(house.take(name, rate)) == ("tokens", 40.1)
    assert refused(house.take(name, rate, tokens=601)) == ("tokens", None), "more than a minute ever has"
    assert house.usage(name).total.tokens == 1000


def test_what_takes_no_token_is_let_in_without_any_and_counted_all_the_same(house: House, name: str) -> None:
    rate = Rate(requests_per_minute=4, tokens_per_minute=100, concurrency=2)
    first = house.take(name, rate, None, 100)
    assert isinstance(first, Taken)
    house.settle(first, 150, 0.0)
    assert isinstance(house.take(name, rate, None, 0), Refused), "it may take some"
    taken = [house.take(name, rate, None, None) for _ in range(2)]
    assert isinstance(taken[0], Taken)
    assert isinstance(taken[1], Taken)
    assert (taken[1].tokens, taken[1].standing.requests, taken[1].standing.tokens) == (0, 1, -50)
    refused = house.take(name, rate, None, None)
    assert isinstance(refused, Refused)
    assert refused.short_of == "concurrency"
    for each in taken:
        assert isinstance(each, Taken)
        house.settle(each, 0, 0.0)
    usage = house.usage(name)
    assert (usage.total.requests, usage.total.tokens, usage.under_way) == (3, 150, 0)


def test_what_is_under_way_is_counted_and_given_back_without_a_trace(house: House, name: str) -> None:
    rate = Rate(requests_per_minute=5, tokens_per_minute=100, concurrency=2)
    first, second = (taken(house.take(name, rate, tokens=10)) for _ in range(2))
    assert second.standing.under_way == 2
    assert refused(house.take(name, rate)) == ("concurrency", None)
    house.give_back(first)
    house.give_back(first)
    left = house.standing(name, rate)
    assert (left.requests, left.tokens, left.under_way) == (4, 90, 1)
    house.settle(second, 10, 0.0)
    usage = house.usage(name)
    assert (usage.total.requests, usage.under_way) == (1, 0)


# --- days, months, ever ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("per", "wait"), [("day", 12 * HOUR), ("month", 12 * HOUR), ("total", None)])
def test_money_is_spent_once_in_its_window(house: House, name: str, per: Any, wait: float | None) -> None:
    spend = Spend(limit=2, per=per)
    for _ in range(2):
        house.settle(taken(house.take(name, FREE, spend, money=0.5)), 10, 1.0)
    assert refused(house.take(name, FREE, spend)) == ("money", wait)
    house.at(NOON + 12 * HOUR)
    if per == "total":
        assert refused(house.take(name, FREE, spend)) == ("money", None)
    else:
        taken(house.take(name, FREE, spend, money=2.0))
        assert refused(house.take(name, FREE, spend))[0] == "money"


def test_a_request_over_midnight_is_corrected_where_it_was_charged(house: House, name: str) -> None:
    cheap, dear = (taken(house.take(name, FREE, tokens=100, money=1.0)) for _ in range(2))
    house.at(NOON + 13 * HOUR)  # also into February
    house.settle(cheap, 40, 0.25)
    house.settle(dear, 150, 1.5)
    usage = house.usage(name)
    assert (usage.day.requests, usage.day.tokens, usage.day.money) == (0, 50, 0.5)
    assert usage.month == usage.day
    assert (usage.total.requests, usage.total.tokens, usage.total.money) == (2, 190, 1.75)


def test_windows_are_those_of_the_calendar(house: House, name: str) -> None:
    """Every first and last day of a month of five centuries' kinds of years."""
    for year in (1999, 2000, 2027, 2028, 2100):
        for month in range(1, 13):
            first = datetime(year, month, 1, tzinfo=UTC)
            last = (first + timedelta(days=32)).replace(day=1) - timedelta(seconds=1)
            for when in (first, last):
                house.at(when.timestamp())
                begun = taken(house.take(name, FREE))
                assert (begun.day, begun.month) == (int(when.timestamp() // 86400), year * 12 + month)


def test_small_sums_add_up_exactly_and_large_ones_hold(house: House, name: str) -> None:
    spend = Spend(limit=0.0001, per="total")
    for _ in range(100):
        house.settle(taken(house.take(name, FREE, spend)), 1, 1e-6)
    assert house.usage(name).total.money == 0.0001
    assert refused(house.take(name, FREE, spend)) == ("money", None)
    house.settle(taken(house.take(name, FREE)), 10**12, 123_456_789.123456789)
    assert house.usage(name).total.money == pytest.approx(123_456_789.123556789, abs=1e-6)


# --- any order of events -----------------------------------------------------------------------------------------


@dataclass
class _Row:
    requests: float = math.inf
    tokens: float = math.inf
    at: float = 0.0
    windows: list[Any] = field(default_factory=lambda: [0, 0, None])
    used: list[list[int]] = field(default_factory=lambda: [[0, 0, 0] for _ in range(3)])
    under_way: int = 0


class Plain:
    """What counting is, as plainly as can be said."""

    def __init__(self) -> None:
        self.rows: dict[str, _Row] = {}
        self.now = NOON

    def row(self, name: str, rate: Rate) -> _Row:
        row = self.rows.setdefault(name, _Row())
        passed, row.at = max(0.0, self.now - row.at), self.now
        rpm, tpm = rate.requests_per_minute, rate.tokens_per_minute
        row.requests = math.inf if rpm is None else min(rpm, row.requests + passed * rpm / 60)
        row.tokens = math.inf if tpm is None else min(tpm, row.tokens + passed * tpm / 60)
        date = datetime.fromtimestamp(self.now, UTC)
        for per, window in enumerate((int(self.now // 86400), date.year * 12 + date.month)):
            if window not in (row.windows[per], row.windows[per] - 1):
                row.windows[per], row.used[per] = window, [0, 0, 0]
        return row

    def take(self, name: str, rate: Rate, spend: Spend | None, tokens: int, nanos: int) -> str | tuple[Any, ...]:
        row = self.row(name, rate)
        if spend is not None:
            used = row.used[["day", "month", "total"].index(spend.per)][2]
            if used >= (limit := nanos_of(spend.limit)) or used + nanos > limit:
                return "money"
        if row.requests < 1:
            return "requests"
        if row.tokens < max(1, tokens):
            return "tokens"
        if rate.concurrency is not None and row.under_way >= rate.concurrency:
            return "concurrency"
        row.under_way += 1
        self.charge(row, [1, tokens, nanos], row.windows)
        return (name, rate, tokens, nanos, list(row.windows))

    def end(self, one: tuple[Any, ...], requests: int, tokens: int, nanos: int) -> None:
        name, rate, estimated, foreseen, windows = one
        row = self.row(name, rate)
        row.under_way -= 1
        self.charge(row, [requests, tokens - estimated, nanos - foreseen], windows)

    def charge(self, row: _Row, more: list[int], windows: list[Any]) -> None:
        row.requests -= more[0]
        row.tokens -= more[1]
        for used, held, its in zip(row.used, row.windows, windows, strict=True):
            for what in range(3):
                used[what] += more[what] if held == its else max(0, more[what])


RATES = [FREE, Rate(requests_per_minute=3), Rate(tokens_per_minute=60), Rate(concurrency=2)]
RATES += [Rate(requests_per_minute=60, tokens_per_minute=600, concurrency=3)]
SPENDS = [None, *(Spend(limit=1, per=per) for per in ("day", "month", "total"))]
WAITS = [0.25, 1.0, 15.0, 60.0, 12 * HOUR, 24 * HOUR, 31 * 24 * HOUR, -1.0, -13 * HOUR, -40 * 24 * HOUR]
EVENT = st.one_of(
    st.tuples(
        st.just("take"), st.sampled_from("ab"), st.sampled_from(RATES), st.sampled_from(SPENDS), st.integers(0, 90),
        st.integers(0, 700),
    ),
    st.tuples(st.sampled_from(["settle", "give back"]), st.integers(0, 9), st.integers(0, 200), st.integers(0, 900)),
    st.tuples(st.just("wait"), st.sampled_from(WAITS)),
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(EVENT, max_size=25))
def test_it_counts_as_a_plain_model_does(house: House, events: list[tuple[Any, ...]]) -> None:
    plain, begun = Plain(), list[tuple[Taken, tuple[Any, ...]]]()
    names = {"a": new_name(), "b": new_name()}
    house.at(NOON)
    for event in events:
        if event[0] == "wait":
            plain.now += event[1]
            house.at(plain.now)
        elif event[0] == "take":
            _, short, rate, spend, tokens, thousandths = event
            found = house.take(names[short], rate, spend, tokens, thousandths / 1000)
            expected = plain.take(names[short], rate, spend, tokens, thousandths * 10**6)
            assert (found.short_of if isinstance(found, Refused) else "") == (
                expected if isinstance(expected, str) else ""
            )
            row = plain.rows[names[short]]
            assert found.standing.requests == pytest.approx(row.requests, abs=1e-6)
            assert found.standing.tokens == pytest.approx(row.tokens, abs=1e-6)
            if isinstance(found, Taken) and not isinstance(expected, str):
                begun.append((found, expected))
                assert [found.day, found.month] == row.windows[:2]
        elif begun:
            real, modelled = begun.pop(event[1] % len(begun))
            if event[0] == "settle":
                house.settle(real, event[2], event[3] / 1000)
                plain.end(modelled, 0, event[2], event[3] * 10**6)
            else:
                house.give_back(real)
                plain.end(modelled, -1, 0, 0)
            house.settle(real, 10**6, 10**6)  # once only
    for each in names.values():
        row, usage = plain.row(each, FREE), house.usage(each)
        for used, window in zip(row.used, (usage.day, usage.month, usage.total), strict=True):
            assert [window.requests, window.tokens, round(window.money * 1e9)] == used
