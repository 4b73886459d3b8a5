"""Drawing several replies: in as few calls as may be, side by side, and some are better than none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from gate.effects import Flow, Generate, Reply, generate, together
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.types import Cost, Generation, Generations

T = TypeVar("T")
_APART = 1000
"""How far the seeds of two calls lie apart: an upstream may count on from the seed of a call of several replies."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The replies that came, what all calls cost, and why some of the first ones did not come."""

    generations: tuple[Generation, ...]
    cost: Cost
    error: UpstreamError | None

    @property
    def reason(self) -> str:
        return str(self.error or "the upstream gave no reply")


def fewest_calls(n: int, at_once: int) -> int:
    """The calls that ``n`` replies take where one brings up to ``at_once``."""
    return -(-n // max(1, at_once))


def seed_of(seed: int | None, place: int) -> int | None:
    """The seed of the call at this place, so that no two calls draw the same."""
    return None if seed is None else seed + _APART * place


def several(ask: Callable[[int, int], Generate], n: int, *, at_once: int, room: int | None) -> Flow[Drawn]:
    """Draw ``n`` replies in as few calls as ``at_once`` allows, side by side; ``room`` is the most calls to make.

    ``ask`` takes how many replies a call is for and the place of the call. An upstream that answers fewer than it was
    asked for is asked again for the rest, one by one, as the budget allows. Calls that fail leave their replies out.
    """
    size = max(1, at_once)
    sizes = [min(size, n - start) for start in range(0, n, size)]
    replies = yield from tried(generate(ask(count, place)) for place, count in enumerate(sizes))
    drawn, cost = _choices(replies), cost_of(replies)
    short = min(n - len(drawn), n if room is None else room - cost.calls)
    if drawn and short > 0:
        with contextlib.suppress(EvidenceUnavailable):  # when the budget has no room for them, these must do
            rest = yield from tried(generate(ask(1, len(sizes) + place)) for place in range(short))
            drawn, cost = drawn + _choices(rest), cost + cost_of(rest)
    return Drawn(drawn[:n], cost, first_error(replies))


def tried(flows: Iterable[Flow[Reply[T]]]) -> Flow[tuple[Reply[T] | UpstreamError, ...]]:
    """What the flows bring, run side by side; the error of one that failed stands in its place."""
    return (yield from together(map(_tried, flows)))


def _tried(flow: Flow[Reply[T]]) -> Flow[Reply[T] | UpstreamError]:
    try:
        return (yield from flow)
    except UpstreamError as error:
        return error


def cost_of(replies: Iterable[Reply[Any] | UpstreamError]) -> Cost:
    """What they cost side by side: calls that failed were made all the same."""
    return Cost.together(reply.cost or Cost() for reply in replies)


def first_error(replies: Iterable[Reply[Any] | UpstreamError]) -> UpstreamError | None:
    return next((reply for reply in replies if isinstance(reply, UpstreamError)), None)


def _choices(replies: tuple[Reply[Generations] | UpstreamError, ...]) -> tuple[Generation, ...]:
    return tuple(choice for reply in replies if isinstance(reply, Reply) for choice in reply.value.choices)
