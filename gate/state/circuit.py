"""Whether a store can be used: what asks a store that is down is told at once, and does not wait for it each time.

After a failure nobody asks it for a moment; then one call does, and so on, with longer moments between, until one
succeeds. That a call was not answered in time is no such failure before a second one is not, made after the first was
given up: it may have been this process that stood still.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("gate.state")
_SHORTEST, _LONGEST = 0.1, 2.0
"""Seconds between two tries of a store that is down."""


class StoreDown(Exception):
    """The store could not be used; the message says why and is fit for any log. Whether what was asked of it was done
    all the same is not known, unless ``unsent``."""

    def __init__(self, cause: str, *, unsent: bool = False) -> None:
        super().__init__(cause)
        self.unsent = unsent


class Circuit:
    """Of one store in one process; all that is kept in the store shares it. Says in the log when it goes and comes."""

    def __init__(self, place: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._clock = clock
        self._cause = ""
        self._since = 0.0
        self._pause = _SHORTEST
        self._next = 0.0
        self._doubted: float | None = None
        """When a call was given up first since the last one that was answered."""
        self.failures = 0
        """Calls that failed, those not counted that were not even made."""
        self.quiet = False
        """Whether whoever asks tells of it: then the log does not."""

    @property
    def up(self) -> bool:
        """As far as is known."""
        return not self._cause

    @property
    def cause(self) -> str:
        """Why it is down; "" while it is up."""
        return self._cause

    @property
    def pause(self) -> float:
        """Seconds until the next call may try; 0 while it is up."""
        return max(0.0, self._next - self._clock()) if self._cause else 0.0

    def enter(self) -> None:
        """Before each call. Raises `StoreDown` where it is not to be made."""
        if not self._cause:
            return
        now = self._clock()
        if now < self._next:
            raise StoreDown(self._cause, unsent=True)
        self._next = now + self._pause  # this one tries; the others wait for what comes of it

    def succeeded(self) -> None:
        """After each call that was answered."""
        self._doubted = None
        if self._cause:
            log.log(
                logging.DEBUG if self.quiet else logging.WARNING,
                "the shared store can be used again: %s, after %.1f s",
                self._place,
                self._clock() - self._since,
            )
            self._cause, self._pause = "", _SHORTEST

    def failed(self, cause: str, *, waited: float | None = None) -> None:
        """After each call that was not. ``waited``: the seconds that were waited for an answer, where none came."""
        self.failures += 1
        now = self._clock()
        if waited is not None and not self._cause and (self._doubted is None or now - waited < self._doubted):
            self._doubted = now if self._doubted is None else self._doubted
            return
        self._doubted = None
        if not self._cause:
            level = logging.DEBUG if self.quiet else logging.WARNING
            log.log(level, "the shared store cannot be used: %s: %s", self._place, cause)
            self._since = now
        else:
            self._pause = min(_LONGEST, 2 * self._pause)
        self._cause = cause
        self._next = now + self._pause
