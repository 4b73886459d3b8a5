"""When an endpoint has asked for time: nobody asks it before that is over, and then not all in one moment.

What is refused may be one request alone, that is too large, say. So it waits as it was told, and all others only a
moment, unless different ones are refused; and every few seconds one is let through, to see whether it is answered.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Hashable

from gate.errors import UpstreamError

_MOST = 60.0
"""Seconds for which all may be held up, and those that come with a request that was refused. Who got the reply waits as
long as it says."""
_ALONE = 3.0
"""Seconds for which one refused request may hold up all others, and from one that is let through to the next."""
_SEVERAL = 3
"""So many different ones are refused, and it is not the request."""
_REMEMBERED = 256
_UNTOLD = 3
"""So many refusals in a row without a time, and all wait: a quarter of a second at first."""
_FIRST, _LONGEST = 0.25, 8.0
_SPREAD, _WIDEST = 0.5, 5.0


def spread(seconds: float) -> float:
    """How much later than asked a call may come, at most, where that is so far away."""
    return min(_WIDEST, _SPREAD * seconds)


class Pace:
    """Of one endpoint, for all who ask it. Safe to share between threads."""

    def __init__(
        self, name: str, *, clock: Callable[[], float] = time.monotonic, draw: Callable[[], float] = random.random
    ) -> None:
        self._name = name
        self._clock = clock
        self._draw = draw
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._own: dict[Hashable, float] = {}
        """Before when those that were refused are not to come again."""
        self._latest = 0.0
        """Of all these times."""
        self._refused: set[Hashable] = set()
        """Different ones since the last that was answered."""
        self._next_try = 0.0
        self._untold = 0
        self.refusals = 0
        """So far: for `answered`."""

    @property
    def free(self) -> bool:
        """Whether it may be asked now."""
        return not self._not_before or self._clock() >= self._not_before

    @property
    def idle(self) -> bool:
        """Whether nobody at all has to wait."""
        return not self._latest or self._clock() >= self._latest

    def pause(self, until: float, request: Hashable = None) -> float:
        """Seconds to wait before it is asked; 0 = ask. Look again after them: it may have asked for more.

        ``request``: what is asked. None: it is like no other. Raises `UpstreamError` where the wait would not end
        before ``until``, on the clock.
        """
        if self.idle:
            return 0.0
        with self._lock:
            now = self._clock()
            own = self._own.get(request, 0.0) - now
            left, next_try = max(own, self._not_before - now), self._next_try - now
            if left <= 0:
                return 0.0
            if own <= 0 and next_try <= 0:
                self._next_try = now + _ALONE
                return 0.0
        room = until - now - left
        if room <= 0:
            cause = f"wants not to be asked for another {math.ceil(left)} s"
            after = left if own > 0 else min(left, next_try)  # then one is let through
            raise UpstreamError(self._name, cause, status=429, unsent=True, retry_after=after)
        pause = left + self._draw() * min(spread(left), room / 2)
        return pause if own > 0 else min(pause, next_try + self._draw() * spread(next_try))

    def refused(self, seconds: float | None, request: Hashable = None) -> None:
        """It was too much for it; ``seconds`` is what it asked for, where it says that. ``request`` as for `pause`."""
        with self._lock:
            now = self._clock()
            self.refusals += 1
            if len(self._refused) < _SEVERAL:
                self._refused.add(object() if request is None else request)
            if seconds is None:
                self._untold += 1
                if self._untold < _UNTOLD:
                    return
                seconds = min(_LONGEST, _FIRST * 2.0 ** min(self._untold - _UNTOLD, 16))
            elif request is not None:
                self._keep(request, now, now + min(seconds, _MOST))
            if now >= self._not_before:
                self._next_try = now + _ALONE
            most = _ALONE if len(self._refused) < _SEVERAL else _MOST
            self._not_before = max(self._not_before, now + min(seconds, most))
            self._latest = max(self._latest, self._not_before)

    def _keep(self, request: Hashable, now: float, until: float) -> None:
        if len(self._own) >= _REMEMBERED:
            self._own = {each: end for each, end in self._own.items() if end > now}
        if len(self._own) >= _REMEMBERED:
            del self._own[next(iter(self._own))]
        self._own[request] = max(until, self._own.get(request, 0.0))
        self._latest = max(self._latest, until)

    def answered(self, refusals: int = -1) -> None:
        """``refusals`` as they were when it was asked: who was asked after the last one shows that others may come."""
        if self._untold:
            self._untold = 0
        if self._refused and refusals == self.refusals:
            with self._lock:
                if refusals == self.refusals:
                    self._refused.clear()
                    self._not_before = 0.0
