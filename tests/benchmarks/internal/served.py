"""What reading internal states costs a vLLM server: one with the plugin beside one without, under the same load.

Both run at once and are asked in turn, forth and back, so that what else the machine does meets both alike. Of each
round the throughput and the median latency count, and of several rounds their medians; differences are taken round by
round.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

import httpx

from gate.pocket.weights import folder
from gate.pocket.world import facts
from tests.served.server import Server, serving

ROOT = Path(__file__).parents[3]
PYTHON = os.environ.get("GATE_VLLM_PYTHON", str(ROOT / ".venv-vllm" / "bin" / "python"))
STATES = {"kv_transfer_params": {"gate_states": {}}}


@dataclass(frozen=True)
class Round:
    """One turn of a load on a server."""

    throughput: float
    latency: float
    bytes: float


@dataclass(frozen=True)
class Load:
    """One load on one server: medians over rounds."""

    model: str
    what: str
    server: str
    throughput: float
    """Generated tokens per second."""
    latency: float
    """Seconds, the median of a round's requests."""
    bytes: float
    """Of a reply."""
    base: Load | None = None
    """The same load on the server without the plugin."""

    rounds: tuple[Round, ...] = ()

    def against(self, what: Literal["throughput", "latency"]) -> float:
        """The relative difference from the server without the plugin: the median of those of each round."""
        if self.base is None:
            raise ValueError("there is nothing to hold it against")
        pairs = zip(self.rounds, self.base.rounds, strict=True)
        return median(getattr(ours, what) / getattr(theirs, what) for ours, theirs in pairs) - 1

    @property
    def bytes_added(self) -> float:
        return self.bytes - self.base.bytes if self.base else 0.0


@dataclass(frozen=True)
class _Kind:
    """Requests of one kind: so many at a time, each answered in so many tokens."""

    name: str
    tokens: int
    at_a_time: int
    requests: int


KINDS = (
    _Kind("one at a time, 64 tokens", 64, 1, 4),
    _Kind("16 at a time, 64 tokens", 64, 16, 16),
    _Kind("16 at a time, 200 tokens", 200, 16, 16),
    _Kind("16 at a time, 6 tokens", 6, 16, 64),
)


def measured(rounds: int) -> list[Load]:
    """Every kind of load on both servers; on the one with the plugin with states asked for, and not."""
    if not Path(PYTHON).is_file():
        raise SystemExit(f"there is no {PYTHON}: 'make test-vllm' installs vLLM there")
    made: list[Load] = []
    with TemporaryDirectory() as folder_:
        place = Path(folder_)
        subprocess.run([PYTHON, "-m", "tests.benchmarks.internal.wide_model", place / "wide"], cwd=ROOT, check=True)
        models = {"pocket, head 14 % of it": folder("large"), "head 3 % of it, random weights": place / "wide"}
        for name, model in models.items():
            with ExitStack() as stack:
                servers = {
                    plugin: stack.enter_context(
                        serving(model, f"{model.name}-{plugin}", place, plugin=plugin == "with", python=PYTHON)
                    )
                    for plugin in ("without", "with")
                }
                made += asyncio.run(_loads(name, servers, rounds))
    return made


async def _loads(model: str, servers: Mapping[str, Server], rounds: int) -> list[Load]:
    made: list[Load] = []
    async with httpx.AsyncClient(timeout=300, limits=httpx.Limits(max_connections=64)) as client:
        ways: dict[str, tuple[Server, dict[str, Any]]] = {
            "plain": (servers["without"], {}),
            "plugin, states not asked for": (servers["with"], {}),
            "plugin, every answer read": (servers["with"], STATES),
        }
        for kind in KINDS:
            seen: dict[str, list[Round]] = {way: [] for way in ways}
            for number in range(rounds + 1):
                order = list(ways) if number % 2 else list(reversed(ways))
                for way in order:
                    found = await _round(client, *ways[way], kind, number)
                    if number:  # the first warms up
                        seen[way].append(found)
            loads = [_median(model, kind.name, way, found) for way, found in seen.items()]
            made += [loads[0], *(replace(load, base=loads[0]) for load in loads[1:])]
    return made


async def _round(client: httpx.AsyncClient, server: Server, extra: dict[str, Any], kind: _Kind, number: int) -> Round:
    turns = asyncio.Semaphore(kind.at_a_time)
    latencies, sizes, tokens = [], [], 0

    async def ask(question: str) -> None:
        nonlocal tokens
        async with turns:
            began = time.perf_counter()
            reply = await client.post(f"{server.base_url}/chat/completions", json=_body(server, question, kind) | extra)
            latencies.append(time.perf_counter() - began)
        reply.raise_for_status()
        tokens += reply.json()["usage"]["completion_tokens"]
        sizes.append(len(reply.content))

    began = time.perf_counter()
    await asyncio.gather(*(ask(question) for question in _questions(number, kind.requests)))
    return Round(tokens / (time.perf_counter() - began), median(latencies), sum(sizes) / len(sizes))


def _body(server: Server, question: str, kind: _Kind) -> dict[str, Any]:
    asked = [{"role": "user", "content": question}]
    return {"model": server.name, "messages": asked, "temperature": 0, "max_tokens": kind.tokens, "ignore_eos": True}


def _questions(number: int, count: int) -> Iterator[str]:
    """Other ones in every round, the same for both servers."""
    listed = [fact.question for fact in facts()]
    return (listed[(number * count + place) % len(listed)] for place in range(count))


def _median(model: str, what: str, server: str, found: list[Round]) -> Load:
    return Load(
        model,
        what,
        server,
        median(each.throughput for each in found),
        median(each.latency for each in found),
        median(each.bytes for each in found),
        rounds=tuple(found),
    )
