"""Replicas in a Ray cluster: what one operation on what they share costs, two replicas beside one, and a thousand on
paper.

``python -m tests.benchmarks.reliability.cluster`` runs it in a network of its own, for Ray listens on every interface.
It takes a minute. The model's server is simulated: it takes its time and no processor's, and a replica works on few
requests at once, so that the ratio tells of how requests are spread, whatever cores there are.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gate.log.opening import open_log
from gate.proxy.counter_store import Asked, Ending
from gate.proxy.keys import Rate
from gate.proxy.redis_counters import RedisCounters
from gate.proxy.settings import read_settings
from gate.state.opening import open_store
from gate.state.redis_store import RedisStore
from tests.integrations.own_network import ray_cluster
from tests.log.decided import entry
from tests.postgres import postgres
from tests.proxy.gate_process import UPSTREAM_KEY, scripted_policy
from tests.proxy.live_server import live
from tests.redis_server import redis_server

REPLICAS, RATE = 1000, 10.0
"""On paper; requests a second of each."""
LOOK_EVERY = 10.0
"""Seconds between two reports of a replica on its queue to Serve's controller, which is one process."""
PLACES, LATENCY, SECONDS = 6, 0.15, 5.0
_RATE = Rate(requests_per_minute=10**9, concurrency=10**6)
_KEYS = 50
_ROWS = 500


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one operation, in microseconds of the one process or connection that does it."""

    take: float
    """Letting a request in, by Redis itself."""
    end: float
    row: float
    """A decision into PostgreSQL, of one replica's batches."""
    proxied: float
    """A request through a proxy of Serve and a replica, beyond what the replica takes by itself."""


@dataclass(frozen=True, slots=True)
class Demand:
    what: str
    used: float
    """Of the one process or connection, when all replicas ask: 1 is all of it."""
    grows_with: str


def demands(costs: Costs, replicas: int = REPLICAS, rate: float = RATE, *, proxies: int | None = None) -> list[Demand]:
    """The fullest first. ``proxies``: of Serve, one a node; None: a node for each 8 replicas."""
    asked = replicas * rate
    doors = -(-replicas // 8) if proxies is None else proxies
    made = [
        Demand("Redis: take and end, one core", asked * (costs.take + costs.end) / 1e6, "requests of keys with limits"),
        Demand("PostgreSQL: decisions, one connection's worth", asked * costs.row / 1e6, "requests"),
        Demand("Serve: each proxy, one core", asked * costs.proxied / 1e6 / doors, "requests a node"),
    ]
    return sorted(made, key=lambda demand: demand.used, reverse=True)


def page(costs: Costs, one: float, two: float) -> list[str]:
    listed = demands(costs)
    first = listed[0]
    return [
        f"| operation | microseconds |\n|---|---|\n| Redis take | {costs.take:.0f} |\n| Redis end | {costs.end:.0f} |",
        f"| decision into PostgreSQL | {costs.row:.0f} |\n| request through Serve's proxy | {costs.proxied:.0f} |",
        "",
        f"Answers a second through Serve: {one:.1f} of one replica, {two:.1f} of two: {two / one if one else 0:.2f}.",
        "",
        f"{REPLICAS:,} replicas of {RATE:g} requests a second each, a node for each 8:",
        "",
        "| shared | used | grows with |\n|---|---|---|",
        *(f"| {each.what} | {each.used:.2f} | {each.grows_with} |" for each in listed),
        "",
        f"Full first: **{first.what}**, at {int(REPLICAS / first.used):,} replicas.",
        f"Reports on queues to Serve's one controller: {REPLICAS / LOOK_EVERY:,.0f} a second, whatever is asked.",
    ]


# --- one operation -----------------------------------------------------------------------------------------------


async def redis_costs(url: str, seconds: float = 2.0) -> tuple[float, float]:
    """Microseconds of Redis's own processor for a take and an end, by its own count."""
    store = open_store(url, timeout=5.0)
    assert isinstance(store, RedisStore)
    counters = RedisCounters(store)
    try:
        await counters.prepare()
        tickets = [f"t{n}" for n in range(10_000)]
        taken: list[str] = []

        async def take(ticket: str) -> None:
            await counters.take(Asked(ticket, _name(ticket), _RATE, None, 0, 1000, 60.0))
            taken.append(ticket)

        async def end(ticket: str) -> None:
            await counters.end([Ending("settle", ticket, _name(ticket), _RATE, 0, 0, 1000)])

        first = await _script_cost(url, take, tickets, seconds)
        return first, await _script_cost(url, end, taken, seconds)
    finally:
        await store.aclose()


def _name(ticket: str) -> str:
    return f"key{int(ticket[1:]) % _KEYS}"


async def _script_cost(url: str, one: Any, tickets: Sequence[str], seconds: float) -> float:
    import redis

    with redis.Redis.from_url(url) as asking:
        asking.config_resetstat()
        until, at = time.monotonic() + seconds, 0
        while time.monotonic() < until and at < len(tickets):
            await asyncio.gather(*(one(ticket) for ticket in tickets[at : at + 32]))
            at += 32
        told: Any = asking.info("commandstats")
    calls = [said for name, said in told.items() if name in {"cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall"}]
    return float(sum(said["usec"] for said in calls)) / sum(said["calls"] for said in calls)


def row_cost(dsn: str, seconds: float = 2.0) -> float:
    """Microseconds of a decision, of one writer that always has some waiting."""
    log = open_log(dsn, retention_days=None)
    began, made = time.monotonic(), 0
    try:
        while time.monotonic() - began < seconds:
            for _ in range(_ROWS):
                log.writer.put(entry(f"row-{made}"))
                made += 1
            log.writer.flush(10)
        return (time.monotonic() - began) * 1e6 / log.writer.written
    finally:
        log.close()


# --- through Serve -----------------------------------------------------------------------------------------------


def slow_model() -> Starlette:
    async def answer(request: Request) -> JSONResponse:
        asked = await request.json()
        await asyncio.sleep(LATENCY)
        choice = {"index": 0, "message": {"role": "assistant", "content": "Lagos"}, "finish_reason": "stop"}
        choices = [{**choice, "index": at} for at in range(asked.get("n") or 1)]
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        return JSONResponse({"id": "c", "object": "chat.completion", "model": "m", "choices": choices, "usage": usage})

    return Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])


async def answers(url: str, clients: int, seconds: float = SECONDS) -> float:
    """Good answers a second, while so many clients ask without a pause."""
    body = {"model": "gate", "messages": [{"role": "user", "content": "Where is Lagos?"}]}
    good, until = 0, time.monotonic() + seconds
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30, limits=limits) as asking:

        async def ask() -> None:
            nonlocal good
            while time.monotonic() < until:
                reply = await asking.post("/v1/chat/completions", json=body)
                good += reply.status_code == 200 and time.monotonic() < until

        await asyncio.gather(*(ask() for _ in range(clients)))
    return good / seconds


def seconds_each(url: str, times: int = 200) -> float:
    """Of a request that no replica has work with, one after the other."""
    with httpx.Client(base_url=url, trust_env=False) as asking:
        asking.get("/healthz")
        began = time.monotonic()
        for _ in range(times):
            asking.get("/healthz").raise_for_status()
        return (time.monotonic() - began) / times


def through_serve(folder: Path) -> tuple[float, float, float]:
    """Answers a second of one replica and of two, and microseconds that Serve adds to a request."""
    from gate.deploy.ray import deploy
    from gate.deploy.replicas import Replicas, serve_config
    from gate.proxy.serving import Extras, make_app

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ["GATE_TEST_UPSTREAM_KEY"] = UPSTREAM_KEY
    with live(slow_model()) as model, ray_cluster():
        policy = scripted_policy(folder, f"{model}/v1", "slow")
        limits = {"concurrency": PLACES, "waiting": 4 * PLACES}
        path = folder / "server.yaml"
        path.write_text(yaml.safe_dump({"policies": [policy.name], "port": port, "limits": limits}))
        settings = read_settings(path)
        rates = []
        for count in (1, 2):
            deploy(serve_config(path, settings, Replicas(count, count)), seconds=120)
            rates.append(asyncio.run(answers(f"http://127.0.0.1:{port}", 4 * PLACES)))
        served = seconds_each(f"http://127.0.0.1:{port}")
        with live(make_app(settings, Extras())) as single:
            alone = seconds_each(single)
    return rates[0], rates[1], (served - alone) * 1e6


def main() -> None:
    if sys.argv[1:] != ["inside"]:
        again = [sys.executable, "-m", "tests.benchmarks.reliability.cluster", "inside"]
        alone = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        command = [*alone, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *again]
        sys.exit(subprocess.run(command, check=False).returncode)
    with redis_server() as redis:
        take, end = asyncio.run(redis_costs(redis.url))
    with postgres() as dsn:
        row = row_cost(dsn)
    with tempfile.TemporaryDirectory() as folder:
        one, two, proxied = through_serve(Path(folder))
    print("\n".join(page(Costs(take, end, row, proxied), one, two)))


if __name__ == "__main__":
    main()
