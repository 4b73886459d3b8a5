"""A circuit breaker an endpoint: one that keeps failing is left alone for a while, and then tried by one call.

Closed, calls go through and are counted. Open, none does: each fails at once, so that whoever asks can go on without.
Half open, one call at a time goes through; if it is answered the breaker closes, else it opens for twice as long. On
the way of every call, so closed it costs well under a microsecond.

One endpoint serves many clients, and some requests make a sound server fail. So a request counts once, however often it
is sent; replies that are errors open it only where hardly anything else comes; and of those that try it again first are
such as have not failed.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Hashable
from enum import IntEnum

from gate.endpoint_settings import BreakerSettings
from gate.errors import UpstreamError

log = logging.getLogger("gate.drivers.breaker")
_SLICES = 10
"""Of the window: it moves on by one of them at a time."""
_STEADY = 0.75
"""What is left of the time a breaker is open, at least, when chance has shortened it: many that opened together, in
several processes, must not all try in one moment."""
_SOON = 1.0
"""Seconds after which to come again while another call tries."""
_NEARLY_ALL = 0.9
"""Of the calls in the window: where replies are errors, so many must fail."""
_TRIES = 3
"""Different calls that try it and get an error as a reply, before it is left alone again."""
_REMEMBERED = 1000
"""Requests that failed."""


class State(IntEnum):
    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Of one endpoint, for all who ask it. Safe to share between threads.

    ``admit`` gives a ticket, and whoever got one says what came of it: exactly one of ``succeeded``, ``failed`` and
    ``abandoned``. What comes of a call from before the breaker last changed its state is not counted.
    """

    def __init__(
        self,
        name: str,
        settings: BreakerSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.opened = 0
        """How often it has opened."""
        self._settings = settings
        self._clock = clock
        self._draw = draw
        self._lock = threading.Lock()
        self._state = State.CLOSED
        self._era = 0
        self._row: set[Hashable] = set()
        """What failed since the last success,"""
        self._unanswered: set[Hashable] = set()
        """and without a reply;"""
        self._row_since = 0.0
        self._failed: dict[Hashable, float] = {}
        """all that failed since it was last closed, and when it was counted."""
        self._window = _Window(settings.within)
        self._tries = 0
        self._until = 0.0
        self._in_vain = 0
        self._probing = False
        self._why = self._last = ""

    @property
    def state(self) -> State:
        return self._state

    @property
    def closed(self) -> bool:
        return self._state is State.CLOSED

    @property
    def seconds_left(self) -> float:
        """For which nobody is let through."""
        return max(0.0, self._until - self._clock()) if self._state is State.OPEN else 0.0

    @property
    def why(self) -> str:
        """Why it is not closed, in words that are fit for any log; "" where it is."""
        return "" if self.closed else f"{self._why} (last: {self._last})"

    # --- calls ---------------------------------------------------------------------------------------------------

    def admit(self, request: Hashable = None) -> int:
        """A ticket for one call. Raises `UpstreamError` where none is to be made now.

        ``request``: what is asked; where that has failed before, others are to try first. None: nothing like any other.
        """
        if self._state is State.CLOSED:
            return self._era
        with self._lock:
            if self._may_be_to_blame(request):
                raise self._refusal("by what has failed before others have tried", max(_SOON, self.seconds_left))
            if self._state is State.OPEN and self._clock() >= self._until:
                self._state = State.HALF_OPEN
                log.info("upstream %r is tried again", self.name)
            if self._state is State.HALF_OPEN:
                if self._probing:
                    raise self._refusal("while another call tries whether it answers", _SOON)
                self._probing = True
                self._era += 1
            elif self._state is State.OPEN:
                left = max(0.0, self._until - self._clock())
                raise self._refusal(f"for another {math.ceil(left)} s", left)
            return self._era

    def succeeded(self, ticket: int) -> None:
        """It was answered: well, or with a refusal."""
        with self._lock:
            if ticket != self._era:
                return
            if self._state is State.CLOSED:
                if self._row:
                    self._row.clear()
                    self._unanswered.clear()
                self._window.add(self._clock())
            elif self._state is State.HALF_OPEN:
                self._close()

    def failed(self, ticket: int, cause: str, request: Hashable = None, *, replied: bool = False) -> None:
        """The server is to blame, or, where it ``replied``, what was asked; ``cause`` in gate's own words.

        ``request``: what is counted once however often it fails. None: it is like no other.
        """
        request = object() if request is None else request
        with self._lock:
            if ticket != self._era:
                return
            self._last = cause
            if self._state is State.HALF_OPEN:
                self._remember(request)
                self._tries += 1
                if replied and self._tries < _TRIES:  # the next one tries
                    self._probing = False
                else:
                    self._open()
            elif self._state is State.CLOSED:
                self._count(request, replied)
                self._why = self._enough()
                if self._why:
                    self._open()

    def abandoned(self, ticket: int) -> None:
        """Nothing is known of it: its caller went away, or had no time."""
        with self._lock:
            if ticket == self._era and self._state is State.HALF_OPEN:
                self._probing = False

    # --- states, under the lock ----------------------------------------------------------------------------------

    def _may_be_to_blame(self, request: Hashable) -> bool:
        """Whether it failed before: it may try once others have had as much time for it as nobody has at first."""
        if request is None or request not in self._failed:
            return False
        return self._until <= self._clock() < self._until + self._settings.seconds

    def _remember(self, request: Hashable) -> bool:
        """Whether it is to be counted: it was not, within the window."""
        now = self._clock()
        if now - self._failed.get(request, -math.inf) < self._settings.within:
            return False
        if len(self._failed) >= _REMEMBERED:
            del self._failed[next(iter(self._failed))]
        self._failed.pop(request, None)
        self._failed[request] = now
        return True

    def _count(self, request: Hashable, replied: bool) -> None:
        if self._remember(request):
            self._window.add(self._clock(), failures=1, unanswered=not replied)
        if not self._row:
            self._row_since = self._clock()
        if len(self._row) < _REMEMBERED:
            self._row.add(request)
            if not replied:
                self._unanswered.add(request)

    def _enough(self) -> str:
        settings, window, row = self._settings, self._window, len(self._row)
        if len(self._unanswered) >= settings.failures:
            return f"it failed {len(self._unanswered)} times in a row"
        if window.calls >= settings.least and window.unanswered >= settings.share * window.calls:
            return f"it failed {window.unanswered} of {window.calls} times within {settings.within:g} s"
        lasting = self._clock() - self._row_since >= settings.within / _SLICES
        if row >= settings.errors and lasting and window.failures >= _NEARLY_ALL * window.calls:
            return f"{row} different requests in a row failed"
        return ""

    def _open(self) -> None:
        settings = self._settings
        longest = min(settings.most_seconds, settings.seconds * 2.0 ** min(self._in_vain, 32))
        seconds = longest * (_STEADY + (1 - _STEADY) * self._draw())
        self._state, self._until, self._probing = State.OPEN, self._clock() + seconds, False
        self._tries = 0
        self._era += 1
        self._in_vain += 1
        self.opened += 1
        log.warning("upstream %r is not asked for %.1f s: %s (last: %s)", self.name, seconds, self._why, self._last)

    def _close(self) -> None:
        self._state, self._probing, self._in_vain, self._tries = State.CLOSED, False, 0, 0
        for kept in (self._row, self._unanswered, self._failed):
            kept.clear()
        self._window = _Window(self._settings.within)
        self._era += 1
        log.info("upstream %r answers again", self.name)

    def _refusal(self, until: str, seconds: float) -> UpstreamError:
        cause = f"is not asked {until}: {self._why} (last: {self._last})"
        return UpstreamError(self.name, cause, status=503, unsent=True, retry_after=seconds)


class _Window:
    """Calls and failures over the last seconds, in slices."""

    __slots__ = ("_calls", "_failures", "_number", "_unanswered", "_width", "calls", "failures", "unanswered")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _SLICES
        self._number = 0
        self._calls = [0] * _SLICES
        self._failures = [0] * _SLICES
        self._unanswered = [0] * _SLICES
        self.calls = 0
        self.failures = 0
        self.unanswered = 0

    def add(self, now: float, failures: int = 0, unanswered: int = 0) -> None:
        number = int(now / self._width)
        if number != self._number:
            self._move(number)
        place = number % _SLICES
        self._calls[place] += 1
        self.calls += 1
        if failures:
            self._failures[place] += 1
            self.failures += 1
            self._unanswered[place] += unanswered
            self.unanswered += unanswered

    def _move(self, number: int) -> None:
        for each in range(max(self._number + 1, number - _SLICES + 1), number + 1):
            place = each % _SLICES
            self.calls -= self._calls[place]
            self.failures -= self._failures[place]
            self.unanswered -= self._unanswered[place]
            self._calls[place] = self._failures[place] = self._unanswered[place] = 0
        self._number = number
