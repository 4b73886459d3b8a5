"""What an upstream may offer beside `gate.ports`: telling of an answer while it writes it, and being awaited.

Drivers find out by its methods, and ask for it only where somebody watches. Every such upstream is one without it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from typing_extensions import TypeIs

from gate.effects import Generate
from gate.ports import Endpoint, HttpRequest, LocalEndpoint, LocalUpstream, WireUpstream
from gate.types import Generations, TokenLogprob


@dataclass(frozen=True, slots=True)
class Piece:
    """What an answer grew by. The texts of all pieces are the answer's text; tokens may run ahead of it."""

    text: str = ""
    tokens: tuple[TokenLogprob, ...] = ()


class LiveReply(Protocol):
    """Reads the reply to one streamed request while it comes. Pure, no sockets."""

    @property
    def whole(self) -> bool:
        """Whether all of the answer has come: what may still follow only counts it."""
        ...

    @property
    def over(self) -> bool:
        """Whether the server has said that nothing follows."""
        ...

    def feed(self, data: bytes) -> Iterator[Piece]:
        """What these bytes add, as far as it is asked for; ``b""`` says that the connection has ended.

        Raises `UpstreamError` for an error that the server tells of, and for what cannot be read.
        """
        ...

    def reply(self) -> Generations:
        """The reply, equal to one that was not streamed. Raises `UpstreamError` where not all of it came."""
        ...

    def so_far(self) -> Generations:
        """What there is of a reply that was broken off on purpose, its tokens estimated where they were not told."""
        ...


class LiveWireUpstream(WireUpstream, Protocol):
    """A language model behind HTTP that can tell of an answer while it writes it."""

    def encode_live(self, effect: Generate) -> HttpRequest | None:
        """The request for a streamed reply with one choice; None where this one cannot be streamed."""
        ...

    def live(self, status: int, headers: Mapping[str, str]) -> LiveReply:
        """What reads the reply, whatever its status and form."""
        ...


Grew = Callable[[str, tuple[TokenLogprob, ...]], bool]
"""Told of each `Piece`; False means: write no more."""


class LiveLocalUpstream(LocalUpstream, Protocol):
    """A language model in this process that can tell of an answer while it writes it."""

    def complete_live(self, effect: Generate, cancelled: Callable[[], bool], grew: Grew) -> Generations:
        """``complete``, telling of the one answer as it grows. Once ``grew`` is False it gives what there is."""
        ...


class AwaitableUpstream(LocalUpstream, Protocol):
    """A language model asked from this process by a library that can wait on an event loop: it takes up no thread."""

    async def acomplete(self, effect: Generate) -> Generations:
        """``complete``. Cancelling it calls the request off."""
        ...


def is_awaitable(endpoint: LocalEndpoint[Any, Any]) -> TypeIs[AwaitableUpstream]:
    return hasattr(endpoint, "acomplete")


LiveUpstream = LiveWireUpstream | LiveLocalUpstream


def is_live(endpoint: Endpoint) -> TypeIs[LiveUpstream]:
    """Whether it can tell of an answer while it writes it. Asked by its methods, as `is_local` is."""
    return hasattr(endpoint, "encode_live") or hasattr(endpoint, "complete_live")
