"""The counts of all keys over several machines: asked of a store they share, and ended behind the requests.

What a request took is not written while its client waits, but by `SharedCounters.run`, many at a time, and again until
the store has it. `run` also renews the leases of what is under way here. Where the store cannot be used nobody is let
in, or each worker counts alone (`gate.proxy.stand_in`) and tells the store of it when it is back.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count, islice
from typing import NamedTuple

from gate.proxy.counter_store import Asked, CounterStore, Ending, Found, How, judged
from gate.proxy.counting import Refused, Standing, Taken, Usage, nanos_of
from gate.proxy.keys import Rate, Spend
from gate.proxy.stand_in import StandIn
from gate.state.circuit import StoreDown

log = logging.getLogger("gate.proxy")
MOST_WAITING = 10_000
"""Endings that wait to be written; of more it is only known what the store charged in advance, if it did."""
_TOGETHER = 100
_LAST = 2.0
"""Seconds in which what waits is still written when the server stops."""


class SharedCounts(NamedTuple):
    """How it is with the store, as this process knows it."""

    up: bool
    waiting: int
    """Endings that are not written yet."""
    lost: int
    """Endings that never will be."""
    failures: int
    """Calls that failed."""
    alone: int
    """Requests that were let in without it."""


class SharedCounters:
    """One worker's. Fits `gate.proxy.counting.SharedCounting`; belongs to one event loop, where `run` runs."""

    def __init__(
        self,
        store: CounterStore,
        *,
        lease: float = 15.0,
        alone: StandIn | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``lease``: seconds after which a request whose worker is no more stops being under way. ``alone``: who counts
        while the store cannot be used; None: nobody is let in then."""
        self._store = store
        self._lease = lease
        self._alone = alone
        self._clock = clock
        self._worker = secrets.token_hex(8)
        self._numbers = count()
        self._held: dict[str, str] = {}
        self._here: Counter[str] = Counter()
        self._last: dict[str, tuple[Found, float]] = {}
        self._stood: dict[str, Standing] = {}
        self._endings: deque[Ending] = deque()
        self._unwritten: Counter[str] = Counter()
        self._queued = self._written = self._lost = 0
        self._awake = asyncio.Event()
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()

    @property
    def counts(self) -> SharedCounts:
        circuit, alone = self._store.circuit, self._alone
        let_in = 0 if alone is None else alone.let_in
        return SharedCounts(circuit.up, len(self._endings), self._lost, circuit.failures, let_in)

    # --- asking --------------------------------------------------------------------------------------------------

    async def take(
        self, name: str, rate: Rate, spend: Spend | None = None, tokens: int | None = 0, money: float = 0.0
    ) -> Taken | Refused:
        """Charge one request with what it will likely take, if all of that is left; nothing otherwise. ``tokens``
        None: it takes none, and none need be left. Raises `StoreDown` where the store cannot be used and nobody counts
        in its place."""
        asked = Asked(self._ticket(), name, rate, spend, tokens or 0, nanos_of(money), self._lease, tokens is None)
        ending = name in self._unwritten  # it may be written before the answer is here, and after it was decided
        try:
            made = await self._asked(asked)
            if isinstance(made, Refused) and (ending or name in self._unwritten):
                await self._caught_up()  # what has ended here may leave room
                made = await self._asked(asked)
        except StoreDown:
            if self._alone is None:
                raise
            asked = replace(asked, ticket=self._ticket())  # under the first one the store may have let it in
            made = self._alone.take(asked, self._last.get(name), self._clock(), self._here)
        self._stood[name] = made.standing
        if isinstance(made, Taken):
            self._held[asked.ticket] = name
            self._here[name] += 1
        return made

    def _ticket(self) -> str:
        return f"{self._worker}-{next(self._numbers)}"

    async def _asked(self, asked: Asked) -> Taken | Refused:
        known = False
        try:
            found = await self._store.take(asked)
            known = True
        except StoreDown as down:
            known = down.unsent
            raise
        finally:
            if not known:  # nor whether it was let in: take that back
                self._queue("give back", asked, -1, -asked.tokens, -asked.nanos)
        self._last[asked.name] = found, self._clock()
        return judged(asked, found)

    async def standing(self, name: str, rate: Rate) -> Standing:
        """What is left now. Raises `StoreDown`."""
        return await self._store.standing(name, rate)

    def last_standing(self, name: str) -> Standing | None:
        """What was left when this name was last asked for here; None where it never was."""
        return self._stood.get(name)

    async def usage(self, name: str) -> Usage:
        """Raises `StoreDown`."""
        return await self._store.usage(name)

    # --- ending --------------------------------------------------------------------------------------------------

    def settle(self, taken: Taken, tokens: int, money: float) -> None:
        """The request has ended and took this. A second time it does nothing."""
        if not self._ended(taken):
            return
        nanos = nanos_of(money)
        served = None if self._alone is None else self._alone.end(taken, tokens, money)
        if served is None:
            self._queue("settle", taken, 0, tokens - taken.tokens, nanos - taken.nanos)
        else:
            self._queue("post", taken, 1, tokens, nanos)

    def give_back(self, taken: Taken) -> None:
        """The request was not served after all, and cost nothing: as if it had never been. Once, as `settle`."""
        if not self._ended(taken):
            return
        if self._alone is None or self._alone.end(taken, None, 0.0) is None:
            self._queue("give back", taken, -1, -taken.tokens, -taken.nanos)

    def _ended(self, taken: Taken) -> bool:
        name = self._held.pop(taken.ticket, None)
        if name is None:
            return False
        _one_less(self._here, name)
        return True

    def _queue(self, how: How, of: Asked | Taken, requests: int, tokens: int, nanos: int) -> None:
        if len(self._endings) >= MOST_WAITING:
            if not self._lost:
                log.error("the shared store is away for too long: what further requests took is not counted exactly")
            self._lost += 1
            return
        self._endings.append(Ending(how, of.ticket, of.name, of.rate, requests, tokens, nanos))
        self._unwritten[of.name] += 1
        self._queued += 1
        self._awake.set()

    # --- in the background ---------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Make what the store needs; where it is away, later."""
        with suppress(StoreDown):
            await self._store.prepare()

    async def run(self) -> None:
        """Write what has ended, renew what has not, and try a store that is away. Until it is cancelled."""
        beat = self._clock()
        while True:
            circuit, done = self._store.circuit, False
            with suppress(StoreDown):
                if not circuit.up:
                    await self._store.ping()
                    beat = self._clock()  # leases may have ended meanwhile
                if self._clock() >= beat:
                    beat = self._clock() + self._lease / 3
                    await self.renew()
                await self.write()
                done = True
            if not (done and circuit.up):
                await asyncio.sleep(max(0.01, circuit.pause))
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, beat - self._clock())):
                    await self._awake.wait()

    async def write(self) -> None:
        """What has ended until now. Raises `StoreDown`; then it is kept."""
        async with self._writing:
            self._awake.clear()
            while self._endings:
                batch = list(islice(self._endings, _TOGETHER))
                await self._store.end(batch)
                for each in batch:
                    self._endings.popleft()
                    _one_less(self._unwritten, each.name)
                self._written += len(batch)
                self._news.set()
                self._news = asyncio.Event()

    async def aclose(self) -> None:
        """Write what waits, as far as that goes in a moment."""
        with suppress(StoreDown, TimeoutError):
            async with asyncio.timeout(_LAST):
                await self.write()
        if self._endings:
            posts = sum(each.how == "post" for each in self._endings)
            log.error(
                "%d ended requests could not be written to the shared store: of %d it keeps what they were charged in "
                "advance; %d were let in without it and are not counted at all",
                *(len(self._endings), len(self._endings) - posts, posts),
            )
        if self._alone is not None:
            self._alone.close()

    async def renew(self) -> None:
        """Hold on to what is under way here; where nothing is, see whether the store is there. Raises `StoreDown`."""
        by_name: dict[str, list[str]] = {}
        for ticket, name in self._held.items():
            by_name.setdefault(name, []).append(ticket)
        if by_name:
            await self._store.renew(by_name, self._lease)
        else:
            await self._store.ping()

    async def _caught_up(self) -> None:
        """Until what has ended before now is written; not for long."""
        until = self._queued
        with suppress(TimeoutError):
            async with asyncio.timeout(self._store.timeout):
                while self._written < until:
                    await self._news.wait()


def _one_less(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if counter[name] <= 0:
        del counter[name]
