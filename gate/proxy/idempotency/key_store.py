"""What a store of idempotency keys is asked: a few questions, each answered whole or not at all, by its own clock.

A key is *held* by the request that works on it, under that request's token and until its lease ends, unless renewed;
then whoever comes first takes it. Or it is *kept*: with the response, or *dropped*, where that was too large.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from gate.state.circuit import StoreDown

State = Literal["claimed", "held", "kept", "dropped", "reused"]


class Held(NamedTuple):
    """One request's hold on a key."""

    name: str
    fingerprint: str
    """Of the request."""
    token: str
    """Of this hold alone."""
    owner: str = ""
    """The client. Of it at most a hash leaves the process."""


class Found(NamedTuple):
    """What a claim came to. ``claimed``: the key is the claimer's now; ``reused``: it stands for another request."""

    state: State
    content: bytes = b""
    """Of a key that is kept."""


class ResponseUnread(StoreDown):
    """A key that is kept, and its response cannot be read now: it was answered, and is not to be answered anew."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause, unsent=True)  # nothing was claimed that would have to be taken back


class KeyStore(Protocol):
    """Raises `gate.state.circuit.StoreDown` for whatever fails."""

    async def prepare(self) -> None:
        """Make what is needed, where it is not there."""
        ...

    async def claim(self, held: Held, lease: float) -> Found:
        """Take a key that is free for so many seconds. May be said again with the same token: it is one claim. Raises
        `ResponseUnread` where it is known to be kept, and the response cannot be had."""
        ...

    async def renew(self, held: Sequence[Held], lease: float) -> None:
        """These are still worked on. What is no longer held under its token stays as it is."""
        ...

    async def keep(self, held: Held, content: bytes | None, seconds: float) -> bool:
        """Keep a response for so long; None drops it. The first that is kept stays: False where another's is there, or
        the key stands for another request by now. May be said again."""
        ...

    async def free(self, held: Held) -> None:
        """Let go of a key, where it is still held under this token."""
        ...

    async def sweep(self) -> None:
        """Remove what is over, where the store does not do so by itself."""
        ...

    async def aclose(self) -> None:
        """Of what is this store's own."""
        ...
