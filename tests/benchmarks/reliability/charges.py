"""What gate charged its keys with, beside what they asked: each request that was let in once, and nobody else's.

A request that was answered is charged, also where it was answered with what another under its key was answered with.
One that failed once something was spent on it is charged too, and else it is not: so of those that failed either will
do. What a limit or a full server kept out costs nothing.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from unittest import mock

from gate.errors import GateError
from gate.proxy.counters import Counters
from gate.proxy.keys import Rate
from gate.proxy.limits import SharedLimiter
from gate.proxy.serving import limits_of
from gate.proxy.settings import ServerSettings, read_settings
from gate.state.circuit import StoreDown
from tests.benchmarks.reliability.accounting import DECIDED, Asked, Kind, Tally, limited
from tests.benchmarks.reliability.questions import TENANTS, TIGHT, TIGHT_REQUESTS
from tests.benchmarks.reliability.worlds import Unavailable, World

_NEVER_IN = ("overloaded", "limits_unavailable")
"""Codes of what is refused before it is charged."""
_CAUGHT_UP = 5.0
"""Seconds in which the last requests are settled."""
_LOOK = 0.1
NAMES = (*TENANTS, TIGHT)


@dataclass(frozen=True, slots=True)
class Account:
    """Of one key, by the counts of the server."""

    requests: int
    """Ever."""
    left: float
    """Of the minute's, for the tenant with the tight limit."""


def accounts(made: World) -> dict[str, Account]:
    """Of all keys, from where the server counts, as ``gate keys usage`` does; a store that was away may take a moment.
    Raises `Unavailable`."""
    until = time.monotonic() + _CAUGHT_UP
    while True:
        try:
            return _accounts(made)
        except (StoreDown, GateError) as error:
            if time.monotonic() > until:
                raise Unavailable(f"what keys are charged with cannot be read: {error}") from None
        time.sleep(_LOOK)


def _accounts(made: World) -> dict[str, Account]:
    shared = made.servers.redis.url if made.setup.shared == "redis" and made.servers.redis else ""
    if made.setup.shared == "postgres" and made.servers.postgres:
        shared = made.servers.postgres.dsn
    with mock.patch.dict(os.environ, {"GATE_BENCH_SHARED": shared}):
        settings = read_settings(made.folder / "server.yaml")
        if settings.shared is not None:
            return asyncio.run(_shared(settings))
    assert settings.state is not None
    with closing(Counters.open(settings.state)) as counters:
        return {
            name: Account(counters.usage(name).total.requests, counters.standing(name, _rate(name)).requests)
            for name in NAMES
        }


async def _shared(settings: ServerSettings) -> dict[str, Account]:
    with ExitStack() as nothing:
        store, limiter = limits_of(settings, nothing)
    assert store is not None
    assert isinstance(limiter, SharedLimiter)
    counters = limiter.counters
    try:
        await counters.prepare()
        return {
            name: Account(
                (await counters.usage(name)).total.requests, (await counters.standing(name, _rate(name))).requests
            )
            for name in NAMES
        }
    finally:
        await store.aclose()


def _rate(name: str) -> Rate:
    return Rate(requests_per_minute=TIGHT_REQUESTS if name == TIGHT else 1_000_000)


def bounds(asked: Sequence[Asked]) -> dict[str, tuple[int, int]]:
    """By tenant, the fewest and the most requests that it may have been charged with."""
    made = {}
    for tenant in NAMES:
        sent = [each for each in asked if each.item.tenant == tenant and each.kind is not Kind.UNSENT]
        least = sum(each.kind in DECIDED for each in sent)
        made[tenant] = least, len(sent) - sum(limited(each) or each.code in _NEVER_IN for each in sent)
    return made


def wrongly(asked: Sequence[Asked], was: Mapping[str, Account], now: Mapping[str, Account]) -> tuple[int, int]:
    """Requests that were charged, and those of them that are too many; or that are missing, added to these."""
    charged = {name: now[name].requests - was[name].requests for name in NAMES}
    wrong = sum(max(0, least - charged[name], charged[name] - most) for name, (least, most) in bounds(asked).items())
    return sum(charged.values()), wrong


def due(asked: Sequence[Asked], was: Account) -> tuple[int, int]:
    """Requests of the tenant with the tight limit that it had room for when the load began, and those of them that it
    kept out."""
    of_it = [each for each in asked if each.item.tenant == TIGHT and each.kind is not Kind.UNSENT]
    room = min(len(of_it), int(min(was.left, TIGHT_REQUESTS)))
    return room, max(0, room - sum(not limited(each) for each in of_it))


def account(found: Tally, asked: Sequence[Asked], was: Mapping[str, Account], made: World) -> None:
    """Write into a tally what was charged, once all is settled. Raises `Unavailable`."""
    until = time.monotonic() + _CAUGHT_UP
    while True:
        charged, wrong = wrongly(asked, was, accounts(made))
        if not wrong or time.monotonic() > until:
            break
        time.sleep(_LOOK)
    found.charged, found.mischarged = charged, wrong
    found.due, found.short = due(asked, was[TIGHT])
