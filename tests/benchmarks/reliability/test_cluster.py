"""The arithmetic of a thousand replicas, and what is measured for it against real servers."""

from __future__ import annotations

import asyncio

import pytest

from tests.benchmarks.reliability.cluster import Costs, demands, page, redis_costs, row_cost
from tests.postgres import postgres
from tests.redis_server import redis_server

COSTS = Costs(take=40, end=10, row=200, proxied=2000)


def test_what_is_full_first_comes_first() -> None:
    listed = demands(COSTS, 1000, 10)
    assert [(each.what.split(":")[0], each.used) for each in listed] == [
        ("PostgreSQL", pytest.approx(2.0)),
        ("Redis", pytest.approx(0.5)),
        ("Serve", pytest.approx(0.16)),
    ]
    assert demands(COSTS, 1000, 10, proxies=1)[0].what.startswith("Serve")


def test_the_page_names_it_and_how_many_replicas_that_is() -> None:
    text = "\n".join(page(COSTS, 10.0, 19.0))
    assert "Full first: **PostgreSQL: decisions, one connection's worth**, at 500 replicas." in text
    assert "of two: 1.90." in text


def test_one_operation_costs_microseconds() -> None:
    with redis_server() as redis:
        take, end = asyncio.run(redis_costs(redis.url, 0.1))
    assert 1 < take < 5_000
    assert 1 < end < 5_000
    with postgres() as dsn:
        assert 1 < row_cost(dsn, 0.1) < 50_000
