"""Places to be worked on, and the room where requests wait for one: who comes next, and who is better refused at once.

Under too much load gate takes in less; it never does less for what it took in. A request that would wait longer than it
may, by the rate at which places become free now, is refused before it waits in vain. Clients take turns: of those that
wait, one of each client in order, so that whoever sends a thousand at once keeps nobody else out; and where the room is
full, who has most waiting gives way to who has less.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from enum import Enum, auto
from math import ceil, inf

from starlette.types import Receive

from gate.proxy.settings import LimitSettings

_KNOWN = 10
"""Requests that must be over before it is told how long others will take."""
_RECENT = 0.1
"""The weight of the newest in how long one takes."""
_LONGEST = 60
"""Seconds: more is not said in Retry-After, for by then all may be different."""


class NoRoom(Exception):
    """There is too much under way. ``reason`` is a stable word; ``seconds``: after them it may be tried again."""

    def __init__(self, message: str, reason: str, seconds: int) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.seconds = seconds


class Gone(Exception):
    """The client has closed its connection."""


class _Turn(Enum):
    COME = auto()
    LATE = auto()
    GONE = auto()
    DISPLACED = auto()


_Queue = deque[asyncio.Future[_Turn]]


class WaitingRoom:
    """Of one worker. Belongs to one event loop."""

    def __init__(self, limits: LimitSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.shed: Counter[str] = Counter()
        """How many were refused, by the reason."""
        self._limits = limits
        self._clock = clock
        self._free = limits.concurrency
        self._queues: dict[Hashable, _Queue] = {}
        """Of each client that waits, in the order of their next turns."""
        self._starts = 0.0
        """When those under way began, added up."""
        self._mean = 0.0
        self._over = 0

    @property
    def under_way(self) -> int:
        return self._limits.concurrency - self._free

    @property
    def waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    async def enter(self, receive: Receive, client: Hashable = None, patience: float = inf) -> float:
        """Have a place, at once or after a wait; what it gives is for ``leave``.

        ``patience``: seconds after which the client no longer waits for an answer. Raises `NoRoom` and `Gone`.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(receive, client, min(patience, self._limits.wait_seconds))
        began = self._clock()
        self._starts += began
        return began

    def leave(self, began: float) -> None:
        """A place is free, for the next client's longest waiting request, else for the next to come."""
        took = self._clock() - began
        self._starts -= began
        self._mean += (took - self._mean) * (_RECENT if self._over else 1.0)
        self._over += 1
        self._hand_on()

    def full(self, message: str, reason: str, client: Hashable = None) -> NoRoom:
        """To be raised: it counts as refused."""
        self.shed[reason] += 1
        foreseen = self.foreseen(client)
        seconds = self._limits.wait_seconds if foreseen is None else min(_LONGEST, foreseen)
        return NoRoom(message, reason, max(1, ceil(seconds)))

    def foreseen(self, client: Hashable) -> float | None:
        """Seconds that another request of the client would wait; None while that cannot be told."""
        if self._over < _KNOWN or self._free:
            return 0.0 if self._free else None
        own = len(self._queues.get(client, ()))
        ahead = own + sum(min(len(queue), own + 1) for other, queue in self._queues.items() if other != client)
        return (ahead + 1) * self._seconds() / self._limits.concurrency

    def _seconds(self) -> float:
        """How long one is worked on: as lately, or longer where those under way have been there for longer."""
        age = self._clock() - self._starts / self.under_way
        return max(self._mean, age)

    # --- waiting -------------------------------------------------------------------------------------------------

    async def _wait(self, receive: Receive, client: Hashable, patience: float) -> None:
        foreseen = self.foreseen(client)
        if foreseen is not None and foreseen > patience:
            said = f"too many requests are being answered; this one would wait {foreseen:.1f} s, and may {patience:g} s"
            raise self.full(said, "would_wait", client)
        if self.waiting >= self._limits.waiting and not self._displaced(client):
            raise self.full("too many requests are being answered, and as many wait as may", "full", client)
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[_Turn] = loop.create_future()
        late = loop.call_later(patience, _tell, turn, _Turn.LATE)
        self._queues.setdefault(client, deque()).append(turn)
        came = None
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(_watch(receive, turn))
                came = await turn
                watching.cancel()
        finally:
            late.cancel()
            if turn.done() and not turn.cancelled() and turn.result() is _Turn.COME:
                if came is None:  # cancelled in the moment when its turn had come
                    self._hand_on()
            else:
                self._forget(client, turn)
        if came is _Turn.LATE:
            raise self.full(f"too many requests are being answered; this one waited {patience:g} s", "waited", client)
        if came is _Turn.DISPLACED:
            said = "too many requests are being answered, and this client has most of those that wait"
            raise self.full(said, "share", client)
        if came is _Turn.GONE:
            raise Gone

    def _hand_on(self) -> None:
        while self._queues:
            client, queue = next(iter(self._queues.items()))
            turn = queue.popleft()
            if turn.done():  # it is leaving, and has had no turn
                if not queue:
                    del self._queues[client]
                continue
            del self._queues[client]
            if queue:
                self._queues[client] = queue  # behind all others
            turn.set_result(_Turn.COME)
            return
        self._free += 1

    def _displaced(self, client: Hashable) -> bool:
        """Whether the newest request of whoever has most waiting gives way to this client, which has fewer."""
        if not self._queues:
            return False
        longest = max(self._queues.values(), key=len)
        if len(longest) <= len(self._queues.get(client, ())) + 1:
            return False
        _tell(longest.pop(), _Turn.DISPLACED)
        return True

    def _forget(self, client: Hashable, turn: asyncio.Future[_Turn]) -> None:
        queue = self._queues.get(client, deque())
        with suppress(ValueError):  # who hands on, or makes room, may have taken it out already
            queue.remove(turn)
        if not queue:
            self._queues.pop(client, None)


async def _watch(receive: Receive, turn: asyncio.Future[_Turn]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    _tell(turn, _Turn.GONE)


def _tell(turn: asyncio.Future[_Turn], what: _Turn) -> None:
    if not turn.done():
        turn.set_result(what)
