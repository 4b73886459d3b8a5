"""On paper: a thousand replicas on one PostgreSQL and one Redis, from what was measured of one. What is full first?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.reliability.processes import Postgres
from tests.benchmarks.reliability.worlds import Servers

REPLICAS, RATE = 1000, 10.0
"""Requests a second of each."""
_ROW_BATCH = 50


@dataclass(frozen=True, slots=True)
class Demand:
    """Of one thing that all replicas share: what they take of it, and what there is."""

    what: str
    wanted: float
    there: float
    unit: str

    @property
    def use(self) -> float:
        return self.wanted / self.there if self.there else float("inf")


@dataclass(frozen=True, slots=True)
class Measured:
    """Of the servers here, each on a core that others use too."""

    rows: float
    """Decisions that PostgreSQL takes a second over one connection, in batches, waiting for its disk."""
    connections: float
    """That one replica holds open to PostgreSQL."""
    most_connections: float
    redis: float
    """Scripts that count keys, those that let in and those that end, which one core of it runs a second."""


def demands(measured: Measured, replicas: int = REPLICAS, rate: float = RATE) -> list[Demand]:
    """The fullest first."""
    asked = replicas * rate
    made = [
        Demand("PostgreSQL connections", replicas * measured.connections, measured.most_connections, "open"),
        Demand("decisions into PostgreSQL", asked, measured.rows, "rows/s"),
        Demand("limits in Redis", 2 * asked, measured.redis, "calls/s"),  # one to be let in, one when it has ended
    ]
    return sorted(made, key=lambda demand: demand.use, reverse=True)


def said(measured: Measured, replicas: int = REPLICAS, rate: float = RATE) -> list[str]:
    """As lines of the page."""
    listed = demands(measured, replicas, rate)
    first = listed[0]
    rows = [f"| {each.what} | {each.wanted:,.0f} | {each.there:,.0f} {each.unit} | {each.use:.1f} |" for each in listed]
    fits = int(replicas / first.use) if first.use else replicas
    return [
        f"{replicas:,} replicas of {rate:g} requests a second each, on one PostgreSQL and one Redis as measured here.",
        "",
        "| shared | wanted | there | times full |",
        "|---|---|---|---|",
        *rows,
        "",
        f"Full first: **{first.what}**, at {fits:,} replicas.",
    ]


def measured(servers: Servers, connections: float, seconds: float = 2.0) -> Measured | None:
    """None without the servers. ``connections``: that one replica was seen to hold."""
    if servers.postgres is None or servers.redis is None:
        return None
    rows, most = _rows(servers.postgres, seconds)
    return Measured(rows, connections, most, _redis(servers.redis.url, seconds))


def connections_held(postgres: Postgres) -> int:
    """By gate, of all its processes."""
    import psycopg

    with psycopg.connect(postgres.dsn) as asking:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'gate%' AND pid <> pg_backend_pid()"
        found: Any = asking.execute(query).fetchone()
    return int(found[0])


def _rows(postgres: Postgres, seconds: float) -> tuple[float, float]:
    import psycopg

    from gate.log.opening import open_log
    from tests.log.decided import entry

    with psycopg.connect(postgres.dsn, autocommit=True) as asking:
        asking.execute("CREATE SCHEMA estimate")
        most: Any = asking.execute("SHOW max_connections").fetchone()
    log = open_log(f"{postgres.dsn}&options=-csearch_path%3Destimate", retention_days=None)
    began, made = time.monotonic(), 0
    try:
        while time.monotonic() - began < seconds:
            for _ in range(_ROW_BATCH):
                log.writer.put(entry(f"estimate-{made}"))
                made += 1
            log.writer.flush(10)
        return log.writer.written / (time.monotonic() - began), float(most[0])
    finally:
        log.close()


def _redis(url: str, seconds: float) -> float:
    """By the scripts that count keys, and Redis's own count of the time they take."""
    from tests.benchmarks.reliability.cluster import redis_costs

    take, end = asyncio.run(redis_costs(url, seconds))
    return 2e6 / (take + end)
