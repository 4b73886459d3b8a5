"""A world to break: gate with its model's server, its log, and what it shares; and what its log holds in the end."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, LiteralString

import yaml

from gate.assemble import assemble
from gate.errors import ConfigError
from gate.policy import read
from gate.proxy.key_file import added
from tests.benchmarks.proxy.server_process import free_port
from tests.benchmarks.reliability.load import Target
from tests.benchmarks.reliability.processes import GateProcess, Postgres, Upstream, mounted, unmount
from tests.benchmarks.reliability.questions import TENANTS, TIGHT, TIGHT_REQUESTS, WITHHELD
from tests.benchmarks.reliability.upstream import MODEL
from tests.redis_server import RedisServer

_CAUGHT_UP = 20.0
"""Seconds that a log may take to write what it held back."""
WATCHER = "watcher"
"""Whose key is good for the metrics alone."""
BREAKER = {"seconds": 1, "most_seconds": 2}
"""Breakers try again sooner than by default (10 s and more): how soon right answers are back is measured in seconds."""
CLOCK = Path(__file__).with_name("set_clock.py")
"""Sets the wall clock of the process that reads it at its start: ``sitecustomize`` on its path. The clock of the
machine is everybody's."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a world is made of."""

    name: str
    log: Literal["sqlite", "postgres"] = "sqlite"
    shared: Literal["", "redis", "postgres"] = ""
    when_down: Literal["refuse", "local"] = "refuse"
    workers: int = 1
    durable: bool = False
    small_disk: bool = False
    """Whether log and state are on a disk of a few megabytes."""
    clock: bool = False
    """Whether its wall clock can be set."""
    breaker: bool = True
    """Whether breakers try again sooner than by default, see `BREAKER`."""
    certified: bool = False
    """Whether policies have a certificate for what runs, and abstain where it is void."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fills(self) -> int:
        """How often a minute's limit may be there anew beside what its time brings: a clock that jumps there and back
        brings it, and who counts alone has one of its own."""
        return 3 if self.clock else 1 + self.workers if self.when_down == "local" else 1


@dataclass(slots=True)
class Servers:
    """Those that all worlds use. None where they cannot be had."""

    postgres: Postgres | None = None
    redis: RedisServer | None = None


class Unavailable(Exception):
    """A world cannot be made here; the message says why."""


@dataclass(slots=True)
class World:
    """One that is up."""

    setup: Setup
    folder: Path
    upstream: Upstream
    gate: GateProcess
    keys: Mapping[str, str] = field(repr=False)
    log: str
    """The address of its decision log."""
    servers: Servers
    marked: int = 0
    """How much gate had said by the last `mark`."""

    def mark(self) -> None:
        self.marked = len(self.gate.said)

    def says(self, text: str) -> bool:
        """Whether gate said that since the `mark`."""
        return text in self.gate.said[self.marked :]

    def metric(self, name: str, labels: str = "") -> float:
        return self.gate.metric(self.keys[WATCHER], name, labels)

    def target(self, *, again: bool = False) -> Target:
        return Target((self.gate.url,), self.keys, again)

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    def set_clock(self, seconds: float) -> None:
        """So much ahead of the machine's."""
        with (self.folder / "clock").open("r+b") as file:
            file.write(struct.pack("<d", seconds))

    def missing(self, named: Iterable[str], patience: float = _CAUGHT_UP) -> list[str]:
        """The decisions that the log has not, once it has written what it held back."""
        wanted, until = set(named), time.monotonic() + patience
        while True:
            left = wanted - in_log(self.log)
            if not left or time.monotonic() > until:
                return sorted(left)
            time.sleep(0.2)

    @property
    def serving(self) -> list[int]:
        """The processes that answer requests."""
        return self.gate.workers if self.setup.workers > 1 else [self.gate.pid]


def in_log(address: str) -> set[str]:
    """The decisions that are there, and whose they are is not asked."""
    return {str(row[0]) for row in _rows(address, "SELECT id FROM gate_decisions")}


def decided_anew(address: str) -> int:
    """Decisions that are there beside the first of the same question."""
    (row,) = _rows(address, "SELECT count(*) - count(DISTINCT question_hash) FROM gate_decisions")
    return int(row[0])


def _rows(address: str, query: LiteralString) -> list[tuple[Any, ...]]:
    if address.startswith("sqlite"):
        with closing(sqlite3.connect(address.removeprefix("sqlite:///"), timeout=10)) as connection:
            return connection.execute(query).fetchall()
    import psycopg

    with psycopg.connect(address) as connected:
        return connected.execute(query).fetchall()


def write_policies(folder: Path, upstream: str, setup: Setup) -> list[str]:
    """``held`` answers once it has decided, ``live`` while the answer is written. Both go by five samples."""
    made = []
    breaker = {"breaker": BREAKER} if setup.breaker else {}
    for name, streaming in (("held", "hold"), ("live", "annotate")):
        policy = {
            "name": name,
            "promise": {"max_error": 0.05, "confidence": 0.95},
            "upstreams": {
                "main": {
                    "kind": "openai_chat",
                    "base_url": upstream,
                    "model": MODEL,
                    "timeout": 4,
                    **breaker,
                    "capabilities": {"n": 1, "logprobs": False},
                }
            },
            "ladder": ["main"],
            "tiers": [["draft", "samples", "meanings"]],
            "evidence": {"samples": {"n": 5, "temperature": 1.0}, "meanings": {"judge": "lexical"}},
            "signals": ["vote_share"],
            "calibrator": "vote_share",
            "rule": {"kind": "threshold", "answer_at": 0.8},
            "abstain": WITHHELD,
            "budget": {"calls": 12, "seconds": 8},
            "serving": {"streaming": streaming},
        }
        path = folder / f"{name}.yaml"
        if setup.certified:
            policy["on_void"] = "abstain"
            path.write_text(yaml.safe_dump(policy, sort_keys=False), "utf-8")
            policy["certificate"] = _certificate(path)
        path.write_text(yaml.safe_dump(policy, sort_keys=False), "utf-8")
        made.append(str(path))
    return made


def _certificate(path: Path) -> dict[str, Any]:
    """For the policy as it stands there, with counts that are made up: what counts here is what it is held against."""
    running = assemble(read(path)).running
    return {
        "alpha": 0.05,
        "delta": 0.05,
        "n": 500,
        "answered": 350,
        "errors": 5,
        "bound": 0.03,
        "segment": "all",
        "date": "2026-01-01",
        "fingerprints": dict(running),
        "models": {"main": MODEL},
    }


@contextmanager
def world(
    setup: Setup, folder: Path, servers: Servers, *, latency: float = 0.02, beside: World | None = None
) -> Iterator[World]:
    """``latency``: seconds of one call of the model. ``beside``: another replica of it, which shares all but the
    state of one machine. Raises `Unavailable`, `CannotStart`."""
    with ExitStack() as ending:
        folder.mkdir(parents=True)
        disk = folder / "disk"
        disk.mkdir()
        if setup.small_disk:
            if why := mounted(disk, 24):
                raise Unavailable(why)
            ending.callback(unmount, disk)
        if beside is None:
            model = Upstream(latency)
            ending.callback(model.stop)
            asking = {**dict.fromkeys(TENANTS, 1_000_000), TIGHT: TIGHT_REQUESTS}
            keys: Mapping[str, str] = {name: _key(folder / "keys.yaml", name, most) for name, most in asking.items()}
            keys = {**keys, WATCHER: _key(folder / "keys.yaml", WATCHER, 1_000_000, roles=["metrics"])}
            address = f"sqlite:///{disk / 'decisions.db'}" if setup.log == "sqlite" else _schema(servers, setup.name)
        else:
            model, keys, address = beside.upstream, beside.keys, beside.log
            shutil.copy(beside.folder / "keys.yaml", folder / "keys.yaml")
        server: dict[str, Any] = {
            "policies": write_policies(folder, model.url, setup),
            "port": free_port(),
            "workers": setup.workers,
            "keys": "keys.yaml",
            "state": str(disk / "state"),
            "dashboard": False,
            "log": {"url_env": "GATE_BENCH_LOG", "keep": "hashed", **({"durable": True} if setup.durable else {})},
            **setup.settings,
        }
        environment = {"GATE_BENCH_LOG": address, **_clock(setup, folder)}
        if setup.shared:
            environment["GATE_BENCH_SHARED"] = _shared(setup, servers)
            prefix = "".join(letter for letter in setup.name if letter.isalpha())
            server["shared"] = {"url_env": "GATE_BENCH_SHARED", "when_down": setup.when_down, "prefix": prefix}
        (folder / "server.yaml").write_text(yaml.safe_dump(server, sort_keys=False), "utf-8")
        process = GateProcess(folder / "server.yaml", server["port"], environment)
        ending.callback(process.stop)
        process.start()
        yield World(setup, folder, model, process, keys, address, servers)


def _key(file: Path, name: str, requests: int, **more: Any) -> str:
    """As ``gate keys new`` makes it."""
    try:
        return added(file, name, {"rate": {"requests_per_minute": requests, "concurrency": 4000}, **more})
    except ConfigError as error:
        raise Unavailable(f"no key can be made: {error}") from error


def _schema(servers: Servers, name: str) -> str:
    if servers.postgres is None:
        raise Unavailable("there is no PostgreSQL server here")
    import psycopg
    from psycopg import sql

    schema = "log_" + "".join(letter for letter in name.lower() if letter.isalnum())
    with psycopg.connect(servers.postgres.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    return f"{servers.postgres.dsn}&options=-csearch_path%3D{schema}"


def _shared(setup: Setup, servers: Servers) -> str:
    if setup.shared == "postgres":
        if servers.postgres is None:
            raise Unavailable("there is no PostgreSQL server here")
        return servers.postgres.dsn
    if servers.redis is None:
        raise Unavailable("there is no Redis server here")
    return servers.redis.url


def _clock(setup: Setup, folder: Path) -> dict[str, str]:
    if not setup.clock:
        return {}
    (folder / "clock").write_bytes(struct.pack("<d", 0.0))
    hook = folder / "hook"
    hook.mkdir()
    shutil.copy(CLOCK, hook / "sitecustomize.py")
    path = os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH", ""))))
    return {"PYTHONPATH": path, "GATE_BENCH_CLOCK": str(folder / "clock")}
