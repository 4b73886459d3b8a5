"""What is large in a store, in a lane of its own: its time grows with its size, and few go at once. Where it fails,
what is small and pressing goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

_AT_ONCE = 4
_BYTES_A_SECOND = 2**20
"""That the slowest link takes which is worth waiting for."""


class Timed(Protocol):
    """A store, as far as this goes."""

    timeout: float


S = TypeVar("S", bound=Timed)


def large_seconds(timeout: float, size: int) -> float:
    """How long a call may take that carries so many bytes, where one that carries none may take ``timeout``."""
    return timeout + size / _BYTES_A_SECOND


class Large(Generic[S]):
    """The lane. Belongs to one event loop."""

    def __init__(self, small: S, store: S) -> None:
        """``store``: the same as ``small``, with connections and a circuit of its own (``beside``)."""
        self.store = store
        self._timeout = small.timeout
        self._room = asyncio.Semaphore(_AT_ONCE)

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[tuple[S, float]]:
        """Once it is its turn: the store, and the seconds for a call of so many bytes. Waiting for it fails nothing."""
        async with self._room:
            yield self.store, large_seconds(self._timeout, size)
