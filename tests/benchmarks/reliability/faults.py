"""What goes wrong: the model's server in all ways that servers do, and gate's own world; and how one can tell that it
was felt there. A fault that nobody felt would be survived by anything.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from tests.benchmarks.reliability.worlds import Setup, World

PLAIN = Setup("plain")
PATIENT = Setup("patient", breaker=False)
CERTIFIED = Setup("certified", certified=True)
DURABLE_FILE = Setup("durablefile", durable=True)
POSTGRES = Setup("postgres", log="postgres")
DURABLE = Setup("durable", log="postgres", durable=True)
REDIS = Setup("redis", log="postgres", shared="redis", workers=2)
REDIS_LOCAL = Setup("redislocal", log="postgres", shared="redis", when_down="local")
SHARED_POSTGRES = Setup("sharedpostgres", log="postgres", shared="postgres", workers=2)
WORKERS = Setup("workers", workers=2)
DURABLE_WORKERS = Setup("durableworkers", workers=2, durable=True)
SMALL_DISK = Setup("smalldisk", workers=2, small_disk=True)
SMALL_DISK_DURABLE = Setup("smalldiskdurable", small_disk=True, durable=True)
CLOCK = Setup("clock", clock=True)
FEW_PLACES = Setup("fewplaces", settings={"limits": {"concurrency": 4, "waiting": 8, "wait_seconds": 1}})
_HOUR = 3600.0
_SHUT_AFTER, _SHUT = 1.0, 4.0
"""Seconds after which a breaker must be open that got no reply at all, and of the fault. (Replies of 500 open it only
where hardly anything else came for half a minute.)"""
_WATCHED = 25.0
"""Seconds for which those are watched who come back when breakers try again by default: after 10 s, then 20 s."""
LOCKED = 6.5
"""Seconds: the log's writer waits 5 s for a lock before it says that it cannot write."""
UNDETECTABLE = "its name is the same: only the monitor of the audits would see it"
Act = Callable[[World], None]
Felt = Callable[[World], bool]


def _nothing(world: World) -> None:
    pass


def _always(world: World) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table."""

    name: str
    setup: Setup
    begin: Act
    end: Act = _nothing
    again: bool = False
    """Whether it closes the connections of clients, who ask again as clients of models do."""
    quick: bool = False
    """Whether it is of the short version too."""
    at_once: bool = False
    """Whether it is over as soon as it has begun."""
    crowd: float = 1.0
    """How many times as many requests come while it lasts."""
    felt: Felt = _always
    """Whether it has done something to gate or its model's server; asked before it ends, or, where it is over at once,
    in the end."""
    during: float = 0.0
    """The least seconds of it."""
    after: float = 0.0
    """The least seconds for which it is watched after it."""
    shut: bool = False
    """Whether a breaker must open, and keep calls away (see `upstream.Felt`)."""
    unpromised: str = ""
    """Why nobody can keep the promise through it."""


def _upstream(fault: str, share: float = 1.0, shut_after: float | None = None) -> Act:
    return lambda world: world.upstream.change(fault, share, shut_after)


def _by_model(world: World) -> bool:
    return world.upstream.felt().calls > 0


def _of_model(name: str, fault: str, share: float = 1.0, *, quick: bool = False) -> Fault:
    return Fault(f"model: {name}", PLAIN, _upstream(fault, share), _upstream(""), quick=quick, felt=_by_model)


def _opened(world: World) -> bool:
    return world.metric("gate_upstream_breaker_opened_total") > 0


def _shut(name: str, fault: str, setup: Setup, *, after: float = 0.0, quick: bool = False) -> Fault:
    """Of all calls, for so long that a breaker opens."""
    return Fault(
        f"model: {name}",
        setup,
        _upstream(fault, shut_after=_SHUT_AFTER),
        _upstream(""),
        quick=quick,
        felt=lambda world: _by_model(world) and _opened(world),
        during=_SHUT,
        after=after,
        shut=True,
    )


def _refused(world: World) -> bool:
    return world.metric("gate_upstream_calls_total", 'outcome="error"') > 0


def _certified_anew(world: World) -> None:
    """As somebody does who has the old model back: the policies, with the certificates for it, are loaded again."""
    world.upstream.change("")
    for name in ("held", "live"):
        with (world.folder / f"{name}.yaml").open("a") as file:
            file.write("# looked at again\n")
    os.kill(world.gate.pid, signal.SIGHUP)


# --- gate's own world ------------------------------------------------------------------------------------------------

_LOCKS: dict[int, sqlite3.Connection] = {}


def _lock(world: World) -> None:
    """By another process's means: a connection of its own, which holds the file for itself."""
    connection = sqlite3.connect(world.log.removeprefix("sqlite:///"), check_same_thread=False, timeout=10)
    connection.isolation_level = None
    connection.execute("BEGIN IMMEDIATE" if world.setup.workers > 1 else "BEGIN EXCLUSIVE")
    _LOCKS[id(world)] = connection


def _unlock(world: World) -> None:
    connection = _LOCKS.pop(id(world))
    connection.execute("ROLLBACK")
    connection.close()


def _fill(world: World) -> None:
    with (world.disk / "filler").open("wb", buffering=0) as file:
        block = bytes(65536)
        try:
            while True:
                file.write(block)
        except OSError:
            pass
        try:
            while True:
                file.write(block[:64])
        except OSError:
            return


def _free(world: World) -> None:
    (world.disk / "filler").unlink()


def _kill_worker(world: World) -> None:
    os.kill(world.gate.workers[0], signal.SIGKILL)


def _kill_supervisor(world: World) -> None:
    os.kill(world.gate.pid, signal.SIGKILL)


def _start_again(world: World) -> None:
    """As a service manager does, once what it started is gone."""
    world.gate.kill()
    world.gate.start()


def _garbage(world: World) -> None:
    path = world.folder / "held.yaml"
    path.with_suffix(".sound").write_bytes(path.read_bytes())
    path.write_bytes(b"\x00\xff{{{ not: [yaml\n" * 20)


def _sound(world: World) -> None:
    path = world.folder / "held.yaml"
    path.with_suffix(".sound").replace(path)


def _clock(seconds: float) -> Act:
    return lambda world: world.set_clock(seconds)


def _at(seconds: float) -> Felt:
    """Whether decisions are dated there, by both clocks that date them: their time, and that in their names."""

    def felt(world: World) -> bool:
        now = time.time() + seconds
        with closing(sqlite3.connect(world.log.removeprefix("sqlite:///"), timeout=10)) as connection:
            rows = connection.execute("SELECT at, id FROM gate_decisions").fetchall()
        dated = [(at, int(name.replace("-", "")[:12], 16) / 1000) for at, name in rows]
        return any(max(abs(at - now), abs(named - now)) < _HOUR / 2 for at, named in dated)

    return felt


def _says(text: str) -> Felt:
    return lambda world: world.says(text)


_UNWRITTEN = _says("cannot be written, and is tried again")


def _unwritten(world: World) -> bool:
    """Whether the log stands still, of one process."""
    if _UNWRITTEN(world):
        return True
    before = world.metric("gate_log_written_total")
    time.sleep(0.5)
    return world.metric("gate_log_waiting") > 0 and world.metric("gate_log_written_total") == before


def _shed(world: World) -> bool:
    return world.metric("gate_shed_total") > 0


def _unshared(world: World) -> bool:
    return world.metric("gate_shared_failures_total") > 0


def _killed(world: World) -> bool:
    return world.gate.ended()


def _postgres(what: str) -> Act:
    return lambda world: getattr(world.servers.postgres, what)()


def _redis(what: str) -> Act:
    return lambda world: getattr(world.servers.redis, what)()


FAULTS: tuple[Fault, ...] = (
    Fault("none", PLAIN, _nothing),
    _of_model("half of its calls take 1.5 s longer", "spikes", 0.5),
    _of_model("resets half of its connections", "resets", 0.5),
    _shut("resets all of its connections", "resets", PLAIN, quick=True),
    _of_model("half of its replies break off", "half", 0.5, quick=True),
    _of_model("429 for 7 of 10 calls", "storm", 0.7, quick=True),
    _of_model("429 with Retry-After for 7 of 10 calls", "storm-after", 0.7),
    _of_model("500 for 7 of 10 calls", "errors", 0.7),
    _of_model("500 for all", "errors"),
    _of_model("a web page for every third reply", "html", 0.33),
    _of_model("broken JSON for every third reply", "torn", 0.33),
    _of_model("another schema for every third reply", "schema", 0.33),
    _of_model("no choices in every third reply", "empty", 0.33),
    _of_model("replies that drip, a byte in 0.25 s", "drip"),
    Fault("model: its port is closed", PLAIN, _upstream("down"), _upstream(""), quick=True, felt=_refused),
    Fault("policy file replaced by garbage", PLAIN, _garbage, _sound, quick=True, felt=_says("cannot be served")),
    Fault("SQLite locked by another process", PLAIN, _lock, _unlock, quick=True, felt=_UNWRITTEN, during=LOCKED),
    _shut("resets all of its connections, breaker as by default", "resets", PATIENT, after=_WATCHED),
    Fault(
        "model: its port is closed, breaker as by default",
        PATIENT,
        _upstream("down"),
        _upstream(""),
        felt=_opened,
        during=_SHUT,
        after=_WATCHED,
    ),
    Fault(
        "model: swapped for another, sure of itself, on_void: abstain",
        CERTIFIED,
        _upstream("swapped"),
        _certified_anew,
        felt=_says("its certificate is void"),
    ),
    Fault(
        "model: swapped for another, sure of itself, of the same name",
        CERTIFIED,
        _upstream("silent"),
        _upstream(""),
        felt=_by_model,
        unpromised=UNDETECTABLE,
    ),
    Fault("durable SQLite locked by another process", DURABLE_FILE, _lock, _unlock, felt=_UNWRITTEN, during=LOCKED),
    Fault("six times the requests, few places", FEW_PLACES, _nothing, crowd=6.0, quick=True, felt=_shed),
    Fault("clock set 1 h ahead", CLOCK, _clock(_HOUR), _clock(0.0), felt=_at(_HOUR)),
    Fault("clock set 1 h back", CLOCK, _clock(-_HOUR), _clock(0.0), felt=_at(-_HOUR)),
    Fault("disk full (log and state)", SMALL_DISK, _fill, _free, felt=_UNWRITTEN),
    Fault("disk full, durable log", SMALL_DISK_DURABLE, _fill, _free, felt=_UNWRITTEN),
    Fault("worker killed -9, of two", WORKERS, _kill_worker, again=True, at_once=True, felt=_says(" died (")),
    Fault(
        "worker killed -9, of two, durable log",
        DURABLE_WORKERS,
        _kill_worker,
        again=True,
        at_once=True,
        quick=True,
        felt=_says(" died ("),
    ),
    Fault(
        "supervisor killed -9, durable log", DURABLE_WORKERS, _kill_supervisor, _start_again, again=True, felt=_killed
    ),
    Fault("log's PostgreSQL stopped", POSTGRES, _postgres("stop"), _postgres("start"), quick=True, felt=_unwritten),
    Fault("log's PostgreSQL paused", POSTGRES, _postgres("freeze"), _postgres("thaw"), felt=_unwritten),
    Fault("durable log's PostgreSQL stopped", DURABLE, _postgres("stop"), _postgres("start"), felt=_unwritten),
    Fault("durable log's PostgreSQL paused", DURABLE, _postgres("freeze"), _postgres("thaw"), felt=_unwritten),
    Fault("shared Redis stopped, refusing", REDIS, _redis("stop"), _redis("start"), quick=True, felt=_unshared),
    Fault("shared Redis paused, refusing", REDIS, _redis("freeze"), _redis("thaw"), felt=_unshared),
    Fault("shared Redis stopped, counting alone", REDIS_LOCAL, _redis("stop"), _redis("start"), felt=_unshared),
    Fault(
        "shared PostgreSQL stopped (and the log)",
        SHARED_POSTGRES,
        _postgres("stop"),
        _postgres("start"),
        felt=_unshared,
    ),
)
"""In the order of their worlds: one that fits is kept up for the next."""
