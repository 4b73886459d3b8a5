"""The estimate on paper: what is full first."""

from __future__ import annotations

from tests.benchmarks.reliability.estimate import Measured, demands, said

MEASURED = Measured(rows=5000, connections=2, most_connections=100, redis=50_000)


def test_what_is_fullest_stands_first() -> None:
    assert [(each.what, each.use) for each in demands(MEASURED, 1000, 10)] == [
        ("PostgreSQL connections", 20.0),
        ("decisions into PostgreSQL", 2.0),
        ("limits in Redis", 0.4),
    ]
    assert demands(MEASURED, 10, 1000)[0].what == "decisions into PostgreSQL"


def test_it_says_how_many_fit() -> None:
    assert said(MEASURED, 1000, 10)[-1] == "Full first: **PostgreSQL connections**, at 50 replicas."
