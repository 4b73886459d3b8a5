"""Asking once more where a reply takes long: the first good one counts, and the other request is called off.

Only what is answered alike each time may be asked twice: answers at temperature 0, embeddings, entailment, searches. Of
two *sampled* answers the faster is more often the shorter, so the answers that go out would not be drawn as those were
that the certificate was made with. At temperature 0 both are the same but for how a server rounds, and that does not
hang together with its haste.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gate.effects import Embed, Entail, Generate, Request, Retrieve
from gate.endpoint_settings import HedgeSettings
from gate.errors import GateError

T = TypeVar("T")
_COUNTED = 1000
"""Requests of which a share may be sent twice."""
_KNOWN = 50
"""Latencies before their 95th percentile is one."""
_KEPT = 500
_AGAIN = 20
"""New latencies after which it is worked out anew."""


def alike(effect: Request) -> bool:
    """Whether it is answered alike each time it is asked, and the budget has room to ask it twice."""
    match effect:
        case Generate(temperature=0, n=1, tight=False) | Embed(tight=False) | Entail(tight=False) | Retrieve():
            return True
        case _:
            return False


class Hedge:
    """Of one endpoint: how long its replies take, and how many requests were sent twice. Safe to share."""

    def __init__(self, settings: HedgeSettings) -> None:
        self.sent = 0
        """How many requests were sent twice."""
        self._settings = settings
        self._lock = threading.Lock()
        self._requests = 0
        self._twice: deque[int] = deque()
        self._took: deque[float] = deque(maxlen=_KEPT)
        self._fresh = 0
        self._percentile: float | None = None

    def begin(self, may: Callable[[], bool]) -> Second | None:
        """For one request; None while it is not known how long a reply takes. ``may``: whether it is no time for it."""
        with self._lock:
            self._requests += 1
            after = self._percentile if self._settings.after == "p95" else self._settings.after
        return Second(self, after, may)

    def take(self) -> bool:
        """Whether one more may be sent twice now; it then counts."""
        with self._lock:
            while self._twice and self._twice[0] <= self._requests - _COUNTED:
                self._twice.popleft()
            if len(self._twice) + 1 > self._settings.share * min(self._requests, _COUNTED):
                return False
            self._twice.append(self._requests)
            self.sent += 1
            return True

    def took(self, seconds: float) -> None:
        """A good reply came after so long."""
        with self._lock:
            self._took.append(seconds)
            self._fresh += 1
            if len(self._took) >= _KNOWN and (self._percentile is None or self._fresh >= _AGAIN):
                self._fresh = 0
                self._percentile = sorted(self._took)[int(0.95 * (len(self._took) - 1))]


class Second:
    """The second request that there may be of one."""

    __slots__ = ("_hedge", "_may", "after", "sent")

    def __init__(self, hedge: Hedge, after: float | None, may: Callable[[], bool]) -> None:
        self._hedge = hedge
        self._may = may
        self.after = after
        """Seconds after which it is sent; None: never, only the time of the first is taken."""
        self.sent = False

    def begin(self) -> bool:
        """Whether it is to be sent now."""
        self.sent = self._may() and self._hedge.take()
        return self.sent

    def took(self, seconds: float) -> None:
        self._hedge.took(seconds)


async def hedged(send: Callable[[], Awaitable[T]], second: Second) -> T:
    """The reply that comes first, of one request or of two. Raises the error of the first only when both failed."""
    clock = asyncio.get_running_loop().time
    ends: asyncio.Queue[T | GateError] = asyncio.Queue()
    began = clock()

    async def one() -> None:
        try:
            ends.put_nowait(await send())
        except GateError as error:
            ends.put_nowait(error)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one())]
        try:
            async with asyncio.timeout(second.after):
                end = await ends.get()
        except TimeoutError:
            if ends.empty() and second.begin():
                tasks.append(group.create_task(one()))
            end = await ends.get()
            if isinstance(end, GateError) and len(tasks) > 1:
                other = await ends.get()
                end = end if isinstance(other, GateError) else other
        for task in tasks:
            task.cancel()
    if isinstance(end, GateError):
        raise end
    second.took(clock() - began)
    return end
