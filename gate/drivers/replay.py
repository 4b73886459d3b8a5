"""Run flows from a recording, with no calls."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any, TypeVar

from gate.drivers.world import Done, Recording, advance
from gate.effects import Effect, Flow, Generate, Observe, Reply, Retrieve, Together, effect_key
from gate.errors import EvidenceUnavailable, GateError, ReplayGap, UpstreamError, UpstreamTimeout
from gate.types import TapeEntry

T = TypeVar("T")


class ReplayDriver:
    """Answers every effect from a tape, so that a flow can be run again with no calls.

    Raises `ReplayGap` when the flow asks for something the tape does not hold: such a flow cannot be judged from it.
    """

    def __init__(self, tape: Iterable[TapeEntry]) -> None:
        self._replies: dict[str, deque[TapeEntry]] = {}
        for entry in tape:
            self._replies.setdefault(entry.key, deque()).append(entry)

    def run(self, flow: Flow[T], recording: Recording) -> T:
        reply: Any = None
        error: GateError | None = None
        with contextlib.closing(flow):
            while True:
                effect = advance(flow, reply, error)
                if isinstance(effect, Done):
                    return effect.result
                reply, error = None, None
                try:
                    reply = self._perform(effect, recording)
                except (UpstreamError, EvidenceUnavailable) as raised:
                    error = raised

    def _perform(self, effect: Effect, recording: Recording) -> Any:
        match effect:
            case Generate() | Retrieve():
                entry = self._next(effect)
                recording.tape.append(entry)
                if entry.failure:
                    kind = UpstreamTimeout if entry.failure.timeout else UpstreamError
                    error = kind(entry.failure.upstream, entry.failure.cause, status=entry.failure.status)
                    error.cost = entry.cost
                    raise error
                return Reply(entry.generations if isinstance(effect, Generate) else entry.passages, entry.cost)
            case Together(flows):
                return tuple(self.run(flow, recording) for flow in flows)
            case Observe(step):
                recording.steps.append(step)
                return None

    def _next(self, effect: Generate | Retrieve) -> TapeEntry:
        replies = self._replies.get(effect_key(effect))
        if not replies:
            what = f"answers of {effect.upstream!r}" if isinstance(effect, Generate) else "a search"
            raise ReplayGap(f"the recording holds no reply for this request for {what}")
        return replies.popleft()
