"""What is counted of a key, and who counts: the processes of one machine, or several machines in a store they share.

Whoever counts, the rules are those of `gate.proxy.counters`: a minute is a token bucket, days and months are UTC, what
a request will take is charged when it is let in and corrected, once, when it has ended.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from gate.proxy.keys import Rate, Spend

Short = Literal["requests", "tokens", "concurrency", "money"]
NANO = 1e9


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of a minute; infinite where there is no limit. Tokens may be owed."""

    requests: float
    tokens: float
    under_way: int


@dataclass(frozen=True, slots=True)
class Used:
    """In one window of time."""

    requests: int
    tokens: int
    money: float
    """US dollars."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a key has used, as charged."""

    day: Used
    month: Used
    total: Used
    under_way: int


@dataclass(slots=True)
class Taken:
    """What one request was charged when it was let in."""

    name: str
    rate: Rate
    tokens: int
    nanos: int
    day: int
    month: int
    standing: Standing
    open: bool = field(default=True)
    """Until it is settled or given back."""
    ticket: str = ""
    """Under which a shared store knows it, so that nothing is done twice; "" where this process alone knows it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was taken."""

    short_of: Short
    seconds: float | None
    """Until there may be enough; None: waiting does not help, or how long is not known."""
    standing: Standing


class Counting(Protocol):
    """Counts at once: in memory, or in a file that the processes of a machine share.

    ``tokens`` None: the request takes none, and is let in also where none are left.
    """

    def take(
        self, name: str, rate: Rate, spend: Spend | None = None, tokens: int | None = 0, money: float = 0.0
    ) -> Taken | Refused: ...
    def settle(self, taken: Taken, tokens: int, money: float) -> None: ...
    def give_back(self, taken: Taken) -> None: ...
    def standing(self, name: str, rate: Rate) -> Standing: ...
    def usage(self, name: str) -> Usage: ...


class SharedCounting(Protocol):
    """The same in a store of several machines: asking takes a round trip, and ending is written behind the request.

    Asking raises `gate.state.circuit.StoreDown` where the store cannot be used. Ending never waits or fails.
    """

    def take(
        self, name: str, rate: Rate, spend: Spend | None = None, tokens: int | None = 0, money: float = 0.0
    ) -> Awaitable[Taken | Refused]: ...
    def settle(self, taken: Taken, tokens: int, money: float) -> None: ...
    def give_back(self, taken: Taken) -> None: ...
    def standing(self, name: str, rate: Rate) -> Awaitable[Standing]: ...
    def usage(self, name: str) -> Awaitable[Usage]: ...


def nanos_of(money: float) -> int:
    """US dollars as billionths, rounded up: whole numbers add up exactly."""
    return math.ceil(round(money * NANO, 3)) if money > 0 else 0


def seconds_short(
    short_of: Short, requests: float, tokens: float, rate: Rate, spend: Spend | None, need: int, wall: float
) -> float | None:
    """How long until there may be enough of it, of what is left of a minute; None as in `Refused`.

    ``need``: tokens. ``wall``: seconds since 1970, in UTC.
    """
    if short_of == "money" and spend is not None:
        return _until_next(spend, wall)
    if short_of == "requests" and rate.requests_per_minute is not None:
        return (1 - requests) * 60 / rate.requests_per_minute
    if short_of == "tokens" and (cap := rate.tokens_per_minute) is not None:
        need = max(1, need)
        return None if need > cap else (need - tokens) * 60 / cap
    return None


def _until_next(spend: Spend, wall: float) -> float | None:
    """Seconds to the next window of the spending limit."""
    if spend.per == "total":
        return None
    now = datetime.fromtimestamp(wall, UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    later = midnight + timedelta(days=1 if spend.per == "day" else 32 - now.day)
    following = later if spend.per == "day" else later.replace(day=1)
    return (following - now).total_seconds()
