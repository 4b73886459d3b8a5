"""Never ask the same thing twice: replies that are remembered are not asked for again."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from gate.drivers.replay import recorded_reply
from gate.effects import Call, Effect, Flow, Observe, Request, Together, advance, driven
from gate.traces import TapeEntry

T = TypeVar("T")


class Memory(Protocol):
    """Replies to one question's requests, from an earlier run that was broken off."""

    def recall(self, effect: Request) -> TapeEntry | None:
        """The reply to this request, once; the same request made again is another one (samples without a seed).

        Raises `EvidenceUnavailable` where there is none and none may be asked for.
        """
        ...

    def note(self) -> None:
        """A reply has come, or the request has failed: keep it, whatever happens next."""
        ...


def remembered(flow: Flow[T], memory: Memory) -> Flow[T]:
    """The flow, with what is remembered answered from memory and the rest performed and noted."""
    return (yield from driven(flow, advance(flow, None, None), lambda effect: _perform(effect, memory)))


def _perform(effect: Effect, memory: Memory) -> Flow[Any]:
    match effect:
        case Observe() | Call():
            return (yield effect)
        case Together(flows):
            return (yield Together(tuple(remembered(flow, memory) for flow in flows)))
        case _:
            entry = memory.recall(effect)
            if entry is not None:
                return recorded_reply(entry)
            try:
                return (yield effect)
            finally:
                memory.note()
