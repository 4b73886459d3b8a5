"""How an endpoint does: its breaker, the time it has asked for, and whether it is asked twice. Shared by all drivers.

It lives as long as the policy that was loaded: a policy that is loaded anew asks everybody again, which costs a few
calls and lets a person who has mended something say so. Policies that name the same server find out each for itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from gate.drivers.breaker import Breaker
from gate.drivers.hedging import Hedge, Second, alike
from gate.drivers.pacing import Pace
from gate.effects import Embed, Entail, Generate, HandOver, Request, Retrieve
from gate.endpoint_settings import FallibleSettings
from gate.errors import UpstreamError, UpstreamTimeout

_PATIENT = 0.9
"""Of the time a call may take, so much must have passed before silence is the server's fault."""


class Health:
    """Of one endpoint. Safe to share between threads."""

    __slots__ = ("__weakref__", "breaker", "hedge", "name", "pace", "patience")

    def __init__(
        self,
        name: str,
        breaker: Breaker | None = None,
        hedge: Hedge | None = None,
        patience: float = 0.0,
        pace: Pace | None = None,
    ) -> None:
        """Without any of it an endpoint is never left alone, and never asked twice.

        ``patience``: seconds of silence that are the server's fault. Whoever asks with less time than that, as every
        caller may, learns nothing about it.
        """
        self.name = name
        self.breaker = breaker
        self.hedge = hedge
        self.patience = patience
        self.pace = pace

    @classmethod
    def of(cls, name: str, settings: FallibleSettings, seconds: float | None) -> Self:
        """``seconds``: the budget of a question."""
        breaker = None if settings.breaker is None else Breaker(name, settings.breaker)
        hedge = None if settings.hedge is None else Hedge(settings.hedge)
        longest = settings.timeout if seconds is None else min(settings.timeout, seconds)
        return cls(name, breaker, hedge, _PATIENT * longest, Pace(name))

    def pause(self, until: float, effect: Request | None = None) -> float:
        """Seconds to wait before it is asked: see `Pace.pause`. Nobody waits for one that is not asked at all."""
        if self.pace is None or (self.breaker is not None and not self.breaker.closed):
            return 0.0
        return self.pace.pause(until, None if effect is None or self.pace.idle else _request_of(effect))

    def attempt(self, effect: Request, began: float, *, watched: bool = False) -> Attempt:
        """One call, made in the block of ``with``. Raises `UpstreamError` where it is not asked now.

        ``began``: when the call was first tried, on the monotonic clock. ``watched``: whether its reply is shown while
        it comes.
        """
        breaker, ticket, second = self.breaker, -1, None
        if breaker is not None:
            ticket = breaker.admit(None if breaker.closed else _request_of(effect))
        if self.hedge is not None and not watched and alike(effect):  # of those that are sent, a share
            second = self.hedge.begin(self._well)
        return Attempt(self, effect, began, ticket, second)

    def _well(self) -> bool:
        return (self.pace is None or self.pace.free) and (self.breaker is None or self.breaker.closed)


class Attempt:
    """One call under way."""

    __slots__ = ("_began", "_effect", "_health", "_refusals", "_ticket", "second")

    def __init__(self, health: Health, effect: Request, began: float, ticket: int, second: Second | None) -> None:
        self._health = health
        self._effect = effect
        self._began = began
        self._refusals = 0 if health.pace is None else health.pace.refusals
        self._ticket = ticket
        self.second = second
        """The one beside it that there may be."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pace, breaker = self._health.pace, self._health.breaker
        if pace is not None:
            if error is None:
                pace.answered(self._refusals)
            elif isinstance(error, UpstreamError) and _asks_for_time(error):
                pace.refused(error.retry_after, _request_of(self._effect))
        if breaker is None:
            return
        if error is None:
            breaker.succeeded(self._ticket)
        elif not isinstance(error, UpstreamError) or self._impatient(error):
            breaker.abandoned(self._ticket)
        elif _at_fault(error):
            # what never arrived is not to blame, so there each request counts, also for the same
            request = self._began if error.unsent else _request_of(self._effect)
            breaker.failed(self._ticket, error.cause, request, replied=error.status is not None)
        else:
            breaker.succeeded(self._ticket)

    def _impatient(self, error: UpstreamError) -> bool:
        """Whether it was the caller who had too little time."""
        return isinstance(error, UpstreamTimeout) and time.monotonic() - self._began < self._health.patience


def _request_of(effect: Request) -> int:
    """What tells requests apart, in this process, and keeps nothing of what a person wrote. Not the seed, nor how many
    answers: what a server cannot read it cannot read in the next sample either."""
    match effect:
        case Generate(messages=asked) | HandOver(messages=asked):
            return hash(repr(asked))
        case Embed(texts=asked):
            return hash(repr(asked))
        case Entail(pairs=asked):
            return hash(repr(asked))
        case Retrieve(query=asked):
            return hash(asked)


def _asks_for_time(error: UpstreamError) -> bool:
    return error.status == 429 or (error.retryable and error.retry_after is not None)


def _at_fault(error: UpstreamError) -> bool:
    """Whether the server is. One that refuses a request is well; a fault of code in this process is that of code."""
    if isinstance(error, UpstreamTimeout):
        return True
    if error.status is None or error.status < 400:
        return error.retryable
    return error.status >= 500


WELL = Health("")
"""Of whoever is not looked after."""


def healths(endpoints: Mapping[str, FallibleSettings], seconds: float | None) -> dict[str, Health]:
    """For each of a policy's endpoints, under its name in `World.timeouts`; ``seconds`` is the budget of a question."""
    return {key: Health.of(key.rpartition(":")[2], settings, seconds) for key, settings in endpoints.items()}
