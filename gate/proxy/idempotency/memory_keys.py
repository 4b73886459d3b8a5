"""Idempotency keys in the memory of one worker: gone with it. What is kept is bounded; the oldest goes first.

Of a response that had to go the key stays, so that a repeat is told so and not answered a second time. Where there are
as many keys as may be, the oldest that is kept is forgotten: of the client that asks, where it has its share of the
room or more, else of the one that has most. So nobody's keys crowd out those of others, nor keep anybody from asking.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gate.proxy.idempotency.key_store import Found, Held
from gate.state.circuit import StoreDown

MOST_BYTES = 64 * 2**20
"""Of all responses together."""
MOST_KEYS = 100_000
_EVERY = 60.0
"""Seconds between two looks at what is held, where all that is there is held."""


@dataclass(slots=True)
class _Row:
    fingerprint: str
    token: str
    """Of who works on it; "" once it is kept."""
    content: bytes | None
    until: float
    owner: str


@dataclass(slots=True)
class _Share:
    """What is kept of one client, the oldest first."""

    keys: OrderedDict[str, None] = field(default_factory=OrderedDict)
    sizes: OrderedDict[str, int] = field(default_factory=OrderedDict)
    """Of the responses that are still there."""
    size: int = 0


class MemoryKeys:
    """Fits `gate.proxy.idempotency.key_store.KeyStore`."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, most_bytes: int = MOST_BYTES, most_keys: int = MOST_KEYS
    ) -> None:
        self._clock = clock
        self._most_bytes, self._most_keys = most_bytes, most_keys
        self._rows: dict[str, _Row] = {}
        self._held: set[str] = set()
        self._kept: OrderedDict[str, None] = OrderedDict()
        """All that is kept, as it was: what is kept first is over first."""
        self._shares: dict[str, _Share] = {}
        self._size = 0
        self._looked = -_EVERY

    async def prepare(self) -> None: ...

    async def claim(self, held: Held, lease: float) -> Found:
        row, until = self._row(held.name), self._clock() + lease
        if row is None:
            self._make_room(held.owner)
            self._rows[held.name] = _Row(held.fingerprint, held.token, None, until, held.owner)
            self._held.add(held.name)
            return Found("claimed")
        if row.token == held.token:
            row.until = until
            return Found("claimed")
        if row.fingerprint != held.fingerprint:
            return Found("reused")
        if row.token:
            return Found("held")
        return Found("dropped") if row.content is None else Found("kept", row.content)

    async def renew(self, held: Sequence[Held], lease: float) -> None:
        for each in held:
            row = self._rows.get(each.name)
            if row is not None and row.token == each.token:
                row.until = self._clock() + lease

    async def keep(self, held: Held, content: bytes | None, seconds: float) -> bool:
        row = self._row(held.name)
        if row is not None and (not row.token or row.fingerprint != held.fingerprint):
            return row.fingerprint == held.fingerprint and row.content == content
        self._held.discard(held.name)
        self._rows[held.name] = _Row(held.fingerprint, "", content, self._clock() + seconds, held.owner)
        self._kept[held.name] = None
        share = self._shares.setdefault(held.owner, _Share())
        share.keys[held.name] = None
        if content is not None:
            share.sizes[held.name] = len(content)
            share.size += len(content)
            self._size += len(content)
            while self._size > self._most_bytes:
                most = max(self._shares.values(), key=lambda each: each.size)
                oldest = next(iter(most.sizes))
                self._drop(most, oldest)
                self._rows[oldest].content = None
        return True

    async def free(self, held: Held) -> None:
        row = self._rows.get(held.name)
        if row is not None and row.token == held.token:
            self._forget(held.name)

    async def sweep(self) -> None:
        self._sweep_kept()
        for name in [*self._held]:
            self._row(name)

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _make_room(self, owner: str) -> None:
        """For one key. Raises `StoreDown` where all that is there is worked on."""
        if len(self._rows) < self._most_keys:
            return
        self._sweep_kept()
        if len(self._rows) >= self._most_keys and self._shares:
            share = self._shares.get(owner)
            if share is None or len(share.keys) * len(self._shares) < self._most_keys:
                share = max(self._shares.values(), key=lambda each: len(each.keys))
            self._forget(next(iter(share.keys)))
        elif len(self._rows) >= self._most_keys and self._clock() >= self._looked + _EVERY:
            self._looked = self._clock()
            for name in [*self._held]:
                self._row(name)
        if len(self._rows) >= self._most_keys:
            raise StoreDown("it holds as many keys as it may", unsent=True)

    def _sweep_kept(self) -> None:
        now = self._clock()
        while self._kept and self._rows[oldest := next(iter(self._kept))].until <= now:
            self._forget(oldest)

    def _row(self, name: str) -> _Row | None:
        """What there is under a name and not over."""
        row = self._rows.get(name)
        if row is not None and row.until <= self._clock():
            self._forget(name)
            return None
        return row

    def _forget(self, name: str) -> None:
        row = self._rows.pop(name)
        if row.token:
            self._held.discard(name)
            return
        del self._kept[name]
        share = self._shares[row.owner]
        del share.keys[name]
        self._drop(share, name)
        if not share.keys:
            del self._shares[row.owner]

    def _drop(self, share: _Share, name: str) -> None:
        """What a response takes of the room."""
        size = share.sizes.pop(name, 0)
        share.size -= size
        self._size -= size
