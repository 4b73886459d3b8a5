"""How often an address may try to log in: a guess costs waiting. Each worker counts for itself."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network

_MOST_ADDRESSES = 4096


class Attempts:
    """Counts failures by address: ``limit`` of them in ``seconds``, then none until the oldest is that long ago."""

    def __init__(self, limit: int = 10, seconds: float = 300, now: Callable[[], float] = time.time) -> None:
        self._limit, self._seconds, self._now = limit, seconds, now
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until the next attempt is allowed; 0 when it is now."""
        recent = self._recent(_group(address))
        return 0.0 if len(recent) < self._limit else recent[-self._limit] + self._seconds - self._now()

    def failed(self, address: str) -> None:
        group = _group(address)
        self._failed[group] = [*self._recent(group), self._now()][-self._limit :]
        self._failed.move_to_end(group)
        while len(self._failed) > _MOST_ADDRESSES:
            self._failed.popitem(last=False)

    def _recent(self, group: str) -> list[float]:
        since = self._now() - self._seconds
        return [at for at in self._failed.get(group, ()) if at > since]


def _group(address: str) -> str:
    """One household has many addresses of version 6: a /64 counts as one."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network(f"{found}/64", strict=False)) if isinstance(found, IPv6Address) else str(found)
