"""What a store that several machines share is asked about counts: a few questions, each answered whole or not at all.

A request that is let in has a ticket, under which the store knows it until it has ended. So what was asked twice, for
the first answer was lost, is done once; and a request whose worker is no more stops being under way when its lease is
over, as the workers that live renew theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gate.proxy.counting import Refused, Short, Standing, Taken, Usage, seconds_short
from gate.proxy.keys import Rate, Spend
from gate.state.circuit import Circuit

KEPT = 86_400
"""Seconds after its lease in which a request may still be settled: its worker may have been cut off from the store."""
How = Literal["settle", "give back", "post"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that wants to be let in."""

    ticket: str
    name: str
    rate: Rate
    spend: Spend | None
    tokens: int
    nanos: int
    lease: float
    """Seconds."""
    tokenless: bool = False
    """It takes no tokens, and is let in also where none are left."""

    @property
    def need(self) -> int:
        """Tokens that must be left, as stores are asked for them: less than none where none need be."""
        return -1 if self.tokenless else self.tokens


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it, by the store's clock."""

    short_of: Short | None
    """None: it was let in."""
    requests: float
    tokens: float
    under_way: int
    now: float
    """Seconds since 1970."""
    day: int
    month: int
    nanos: tuple[int, int, int]
    """Spent in this day and month and ever, in billionths of a dollar."""

    @property
    def standing(self) -> Standing:
        return Standing(self.requests, self.tokens, self.under_way)


@dataclass(frozen=True, slots=True)
class Ending:
    """What is to be added to the counts of a request's key, once, now that it has ended.

    ``settle``: where the store knows its ticket. ``give back``: likewise, and where it does not, that request is not
    let in any more, should it still be on its way. ``post``: it was let in without the store. When the request was
    charged the store has noted with its ticket, by its own clock: in a day or month that is over nothing is taken back
    from the one that came after.
    """

    how: How
    ticket: str
    name: str
    rate: Rate
    requests: int
    tokens: int
    nanos: int


class CounterStore(Protocol):
    """Raises `gate.state.circuit.StoreDown` for whatever fails."""

    @property
    def circuit(self) -> Circuit: ...
    @property
    def timeout(self) -> float:
        """Seconds that a call may take."""
        ...

    async def prepare(self) -> None:
        """Make what is needed, where it is not there."""
        ...

    async def ping(self) -> None: ...
    async def take(self, asked: Asked) -> Found: ...
    async def end(self, endings: Sequence[Ending]) -> None:
        """May be said again after a failure: what is done already is not done twice."""
        ...

    async def renew(self, held: Mapping[str, Sequence[str]], lease: float) -> None:
        """The requests with these tickets, by name, are still under way."""
        ...

    async def standing(self, name: str, rate: Rate) -> Standing: ...
    async def usage(self, name: str) -> Usage: ...


def judged(asked: Asked, found: Found) -> Taken | Refused:
    """The same in the words of whoever counts."""
    if found.short_of is None:
        day, month = found.day, found.month
        taken = (asked.name, asked.rate, asked.tokens, asked.nanos, day, month, found.standing)
        return Taken(*taken, ticket=asked.ticket)
    left = (found.requests, found.tokens, asked.rate, asked.spend, asked.tokens, found.now)
    return Refused(found.short_of, seconds_short(found.short_of, *left), found.standing)
