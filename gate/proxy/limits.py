"""Whether a client may ask now: its rate and its money, in OpenAI's words, status codes and headers.

Where the counts are this machine's own that is known at once; where several machines share them it takes a round trip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gate.errors import RequestError
from gate.proxy.counting import Counting, Refused, Standing, Taken
from gate.proxy.keys import Client, Rate
from gate.proxy.shared_counters import SharedCounters
from gate.state.circuit import StoreDown

_BACK_SOON = 1.0
"""Seconds after which it is worth asking again whether a store is back."""
_ENDED_SOON = 1.0
"""Seconds: when a request under way will have ended nobody knows; so much is asked of one that comes again."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """One request that was let in. `Limiter.settle` or `Limiter.refund` it, whatever becomes of it."""

    client: Client
    taken: Taken

    @property
    def headers(self) -> dict[str, str]:
        """What is left of the client's minute, for the response."""
        return rate_headers(self.client.rate, self.taken.standing)


class Limiter:
    """Lets clients in as far as the counts of what they have used allow."""

    def __init__(self, counters: Counting) -> None:
        self._counters = counters

    def admit(self, client: Client, estimated_tokens: int | None = 0, estimated_money: float = 0.0) -> Admitted:
        """Charge a request in advance with the tokens (read and written) and US dollars that it will likely take; None
        tokens: it takes none, and none need be left.

        Raises `RequestError` of status 429, with the seconds to wait where that helps: ``rate_limit_exceeded``, or
        ``insufficient_quota`` where its money is spent.
        """
        found = self._counters.take(client.name, client.rate, client.spend, estimated_tokens, estimated_money)
        return _judged(client, found, estimated_tokens)

    def settle(self, admitted: Admitted, tokens: int, money: float) -> None:
        """What it took in truth. Once: later calls do nothing."""
        self._counters.settle(admitted.taken, tokens, money)

    def refund(self, admitted: Admitted) -> None:
        """It was not served and cost nothing. Once, as `settle`."""
        self._counters.give_back(admitted.taken)

    def headers(self, client: Client) -> dict[str, str]:
        """What is left of the client's minute now, for a response to a request that was refused."""
        return rate_headers(client.rate, self._counters.standing(client.name, client.rate))


class SharedLimiter:
    """The same as far as the counts allow that several machines share: that takes a round trip."""

    def __init__(self, counters: SharedCounters) -> None:
        self.counters = counters

    async def admit(self, client: Client, estimated_tokens: int | None = 0, estimated_money: float = 0.0) -> Admitted:
        """As `Limiter.admit`. Raises `RequestError` of status 503 where the counts cannot be had."""
        asked = (client.name, client.rate, client.spend, estimated_tokens, estimated_money)
        try:
            found = await self.counters.take(*asked)
        except StoreDown:
            said = "the limits of keys cannot be looked up now, and this server lets nobody in unlimited; try again"
            raise RequestError(said, status=503, code="limits_unavailable", retry_after=_BACK_SOON) from None
        return _judged(client, found, estimated_tokens)

    def settle(self, admitted: Admitted, tokens: int, money: float) -> None:
        """What it took in truth; written soon. Once: later calls do nothing."""
        self.counters.settle(admitted.taken, tokens, money)

    def refund(self, admitted: Admitted) -> None:
        """It was not served and cost nothing. Once, as `settle`."""
        self.counters.give_back(admitted.taken)

    def headers(self, client: Client) -> dict[str, str]:
        """What was left of the client's minute when it last asked here: it has just been refused."""
        standing = self.counters.last_standing(client.name)
        return {} if standing is None else rate_headers(client.rate, standing)


def rate_headers(rate: Rate, standing: Standing) -> dict[str, str]:
    """OpenAI's ``x-ratelimit-…`` headers, for what is limited. ``reset``: until the whole minute's worth is there."""
    made: dict[str, str] = {}
    for name, limit, left in (
        ("requests", rate.requests_per_minute, standing.requests),
        ("tokens", rate.tokens_per_minute, standing.tokens),
    ):
        if limit is not None:
            made[f"x-ratelimit-limit-{name}"] = str(limit)
            made[f"x-ratelimit-remaining-{name}"] = str(max(0, int(left)))
            made[f"x-ratelimit-reset-{name}"] = duration((limit - left) * 60 / limit)
    return made


def duration(seconds: float) -> str:
    """As OpenAI writes it: ``20ms``, ``1.5s``, ``6m0s``. Rounded up."""
    ms = max(0, math.ceil(round(seconds * 1000, 3)))
    if ms < 1000:
        return f"{ms}ms"
    minutes, rest = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{hours}h{minutes}m{shown}s" if hours else f"{minutes}m{shown}s" if minutes else f"{shown}s"


def _judged(client: Client, found: Taken | Refused, estimated_tokens: int | None) -> Admitted:
    if isinstance(found, Refused):
        raise _refused(client, found, estimated_tokens or 0)
    return Admitted(client, found)


def _refused(client: Client, found: Refused, tokens: int) -> RequestError:
    rate, spend = client.rate, client.spend
    if found.short_of == "money" and spend is not None:
        window = "in all" if spend.per == "total" else f"a {spend.per}"
        said = f"this key has spent what it may, or would with this request: ${spend.limit:g} {window}"
        return RequestError(said, status=429, code="insufficient_quota", retry_after=found.seconds)
    if found.short_of == "concurrency":
        said = f"this key has {rate.concurrency} requests under way, as many as it may: try again when one has ended"
        return _too_fast(said, _ENDED_SOON)
    if found.seconds is None:
        limit = rate.tokens_per_minute
        return _too_fast(f"this request may take {tokens} tokens, more than this key has in a minute: {limit}", None)
    limit = rate.requests_per_minute if found.short_of == "requests" else rate.tokens_per_minute
    said = f"this key may use {limit} {found.short_of} a minute: try again in {duration(found.seconds)}"
    return _too_fast(said, found.seconds)


def _too_fast(said: str, seconds: float | None) -> RequestError:
    return RequestError(said, status=429, code="rate_limit_exceeded", retry_after=seconds)
