"""One worker's own counts, for as long as the store that it shares with others cannot be used.

Each worker lets in what the whole rates allow, so that of N workers a key may get up to N times its limit. It goes on
from what the store last said: a store that comes and goes gives nobody a new minute each time, and money that was spent
stays spent.
"""

from __future__ import annotations

from collections import Counter

from gate.proxy.counter_store import Asked, Found
from gate.proxy.counters import Counters
from gate.proxy.counting import NANO, Refused, Standing, Taken


class StandIn:
    """Belongs to one event loop. ``counters``: in memory."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._from: dict[str, float] = {}
        self._open: dict[str, Taken] = {}
        self.let_in = 0
        """Requests, so far."""

    def take(
        self, asked: Asked, last: tuple[Found, float] | None, now: float, under_way: Counter[str]
    ) -> Taken | Refused:
        """``last``: what the store last said of this name, and when that was; ``now``: on the same clock.
        ``under_way``: in this process, by name."""
        name, rate = asked.name, asked.rate
        if last is not None and self._from.get(name) != last[1]:
            found, at = last
            self._from[name] = at
            windows = (found.day, found.month)
            self._counters.restore(name, found.requests, found.tokens, now - at, windows, found.nanos)
        if rate.concurrency is not None and under_way[name] >= rate.concurrency:
            left = self._counters.standing(name, rate)
            return Refused("concurrency", None, Standing(left.requests, left.tokens, under_way[name]))
        alone = rate.model_copy(update={"concurrency": None})
        tokens = None if asked.tokenless else asked.tokens
        taken = self._counters.take(name, alone, asked.spend, tokens, asked.nanos / NANO)
        if isinstance(taken, Taken):
            taken.ticket = asked.ticket
            self._open[asked.ticket] = taken
            self.let_in += 1
        return taken

    def end(self, taken: Taken, tokens: int | None, money: float) -> bool | None:
        """What a request took in truth; None tokens: nothing at all. Returns whether it was let in here and was served,
        so that the store is to be told; None for one that was not let in here."""
        if self._open.pop(taken.ticket, None) is None:
            return None
        if tokens is None:
            self._counters.give_back(taken)
            return False
        self._counters.settle(taken, tokens, money)
        return True

    def close(self) -> None:
        self._counters.close()
