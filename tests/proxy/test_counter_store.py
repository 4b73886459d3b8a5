"""What is asked of a shared store is done once, whatever was lost on the way, and leases end with who held them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gate.proxy.counter_store import KEPT, Asked, Ending, Found, How, judged
from gate.proxy.counting import Refused, Taken
from gate.proxy.keys import Rate, Spend
from tests.proxy.counting_houses import LEASE, NOON, Shared, new_name, shared

RATE = Rate(requests_per_minute=60, tokens_per_minute=600, concurrency=2)
DAY = int(NOON // 86_400)
MONTH = 2026 * 12 + 1


@pytest.fixture(scope="module", params=["redis", "postgresql"])
def house(request: pytest.FixtureRequest) -> Iterator[Shared]:
    if request.param == "redis":
        with shared(request.getfixturevalue("redis").url, "store") as counted:
            yield counted
    else:
        with shared(request.getfixturevalue("database"), "store") as counted:
            yield counted


@pytest.fixture
def asked(house: Shared) -> Asked:
    house.at(NOON)
    name = new_name()
    return Asked(f"{name}-1", name, RATE, None, 100, 5, LEASE)


def ending(how: How, asked: Asked, requests: int = 0, tokens: int = 0, nanos: int = 0) -> Ending:
    return Ending(how, asked.ticket, asked.name, asked.rate, requests, tokens, nanos)


def used(house: Shared, name: str) -> tuple[int, int, int, int]:
    usage = house.usage(name)
    assert usage.day == usage.month == usage.total
    return usage.total.requests, usage.total.tokens, round(usage.total.money * 1e9), usage.under_way


def test_what_ended_is_counted_once_however_often_it_is_said(house: Shared, asked: Asked) -> None:
    found = house.run(house.kept.take(asked))
    assert found == Found(None, 59, 500, 1, NOON, DAY, MONTH, (5, 5, 5))
    for _ in range(3):
        house.run(house.kept.end([ending("settle", asked, 0, -40, 2)] * 2))
        assert used(house, asked.name) == (1, 60, 7, 0)
    house.run(house.kept.end([ending("give back", asked, -1, -100, -5)]))
    assert used(house, asked.name) == (1, 60, 7, 0)


def test_what_was_taken_back_before_it_came_is_not_let_in(house: Shared, asked: Asked) -> None:
    for _ in range(2):
        house.run(house.kept.end([ending("give back", asked, -1, -100, -5)]))
    assert house.run(house.kept.take(asked)).short_of is not None
    assert used(house, asked.name) == (0, 0, 0, 0)
    again = replace(asked, ticket=f"{asked.name}-2")
    assert house.run(house.kept.take(again)).short_of is None


def test_what_was_let_in_without_the_store_is_told_to_it_once(house: Shared, asked: Asked) -> None:
    for _ in range(2):
        house.run(house.kept.end([ending("post", asked, 1, 70, 9)]))
    assert used(house, asked.name) == (1, 70, 9, 0)
    left = house.standing(asked.name, RATE)
    assert (left.requests, left.tokens) == (59, 530)


def test_what_had_ended_before_the_store_knew_of_it_is_not_under_way_when_its_clock_is_set_back(
    house: Shared, asked: Asked
) -> None:
    house.run(house.kept.end([ending("post", asked, 1, 70, 9)]))
    house.run(house.kept.end([ending("give back", replace(asked, ticket=f"{asked.name}-2"), -1, -100, -5)]))
    house.at(NOON - 3600)
    assert used(house, asked.name)[3] == house.standing(asked.name, RATE).under_way == 0
    for place in (3, 4):
        assert house.run(house.kept.take(replace(asked, ticket=f"{asked.name}-{place}"))).short_of is None
    assert house.run(house.kept.take(replace(asked, ticket=f"{asked.name}-2"))).short_of is not None


def test_leases_end_with_who_held_them_and_what_was_charged_stays(house: Shared, asked: Asked) -> None:
    dead, alive = asked, replace(asked, ticket=f"{asked.name}-2", tokens=1)
    late = replace(asked, ticket=f"{asked.name}-3", tokens=1)
    for each in (dead, alive):
        assert house.run(house.kept.take(each)).short_of is None
    house.at(NOON + LEASE - 1)
    house.run(house.kept.renew({asked.name: [alive.ticket]}, LEASE))
    assert house.run(house.kept.take(late)).short_of == "concurrency"
    house.at(NOON + LEASE + 1)
    found = house.run(house.kept.take(late))
    assert (found.short_of, found.under_way) == (None, 2)
    assert used(house, asked.name)[:2] == (3, 102)
    # it was not dead but cut off
    house.run(house.kept.end([ending("settle", dead, 0, -60, 0)]))
    assert used(house, asked.name) == (3, 42, 15, 2)
    house.run(house.kept.renew({asked.name: [dead.ticket, "nobody's"]}, LEASE))
    assert used(house, asked.name)[3] == 2, "what has ended is not held on to"
    house.at(NOON + KEPT + 2 * LEASE + 2)
    assert house.run(house.kept.take(replace(late, ticket=f"{asked.name}-4"))).under_way == 1
    house.run(house.kept.end([ending("settle", alive, 0, 10**6, 0)]))
    assert house.usage(asked.name).total.tokens == 43, "a day later nobody settles any more"


@pytest.mark.parametrize("how", ["settle", "give back"])
def test_what_ends_in_another_day_takes_nothing_back_from_it(house: Shared, asked: Asked, how: How) -> None:
    late = replace(asked, ticket=f"{asked.name}-2")
    for now, each in ((NOON, asked), (NOON + KEPT, late)):  # the 31st of January, and the first of February
        house.at(now)
        assert house.run(house.kept.take(each)).short_of is None
    house.run(house.kept.end([ending(how, asked, -1, -100, -5)]))
    usage = house.usage(asked.name)
    assert [(each.requests, each.tokens) for each in (usage.day, usage.month, usage.total)] == [(1, 100)] * 3
    house.run(house.kept.end([ending(how, late, -1, -100, -5)]))
    assert used(house, asked.name) == (0, 0, 0, 0)


def test_many_keys_at_once_and_in_one_go(house: Shared, asked: Asked) -> None:
    async def one(ticket: str) -> Found:
        return await house.kept.take(replace(asked, ticket=ticket, tokens=0, rate=Rate(requests_per_minute=10)))

    async def all_of() -> list[Found]:
        return await asyncio.gather(*(one(f"{asked.name}-{at}") for at in range(40)))

    found = house.run(all_of())
    assert sorted(each.short_of or "" for each in found) == [""] * 10 + ["requests"] * 30
    others = [replace(asked, name=new_name(), ticket=f"{asked.name}-o{at}") for at in range(30)]
    house.run(house.kept.end([ending("post", each, 1, at, at) for at, each in enumerate(others)]))
    assert [used(house, each.name) for each in others] == [(1, at, at, 0) for at in range(30)]


def test_a_finding_in_the_words_of_whoever_counts() -> None:
    asked = Asked("t", "a", Rate(requests_per_minute=6), Spend(limit=1, per="day"), 7, 8, 15)
    found = Found(None, 5, 6, 1, NOON, 1, 2, (0, 0, 0))
    taken = judged(asked, found)
    assert isinstance(taken, Taken)
    assert (taken.ticket, taken.day, taken.month, taken.tokens, taken.standing) == ("t", 1, 2, 7, found.standing)
    assert judged(asked, replace(found, short_of="requests", requests=0.5)) == Refused(
        "requests", 5, replace(found.standing, requests=0.5)
    )
    assert judged(asked, replace(found, short_of="money")) == Refused("money", 12 * 3600, found.standing)
    assert judged(asked, replace(found, short_of="concurrency")) == Refused("concurrency", None, found.standing)
