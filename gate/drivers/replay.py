"""Run flows from a recording, with no calls."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any, TypeVar

from gate.drivers.world import Recording, search_failed
from gate.effects import (
    Ask,
    Done,
    Effect,
    Embed,
    Entail,
    Flow,
    Generate,
    Observe,
    Reply,
    Retrieve,
    Together,
    advance,
    effect_key,
)
from gate.errors import EvidenceUnavailable, GateError, ReplayGap, UpstreamError, UpstreamTimeout
from gate.types import Generations, TapeEntry

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
            case Generate() | Embed() | Entail() | Retrieve():
                entry = self._next(effect)
                recording.tape.append(entry)
                if entry.failure:
                    failed = entry.failure
                    if isinstance(effect, Retrieve):
                        raise search_failed(failed.upstream, failed.cause, entry.cost)
                    kind = UpstreamTimeout if failed.timeout else UpstreamError
                    error = kind(failed.upstream, failed.cause, said=failed.said, status=failed.status)
                    error.cost = entry.cost
                    raise error
                return Reply(_value(entry), entry.cost)
            case Together(flows):
                return tuple(self.run(flow, recording) for flow in flows)
            case Observe(step):
                recording.steps.append(step)
                return None

    def _next(self, effect: Ask | Retrieve) -> TapeEntry:
        replies = self._replies.get(effect_key(effect))
        if not replies:
            raise ReplayGap(
                f"this cannot be told from the recording: it holds no reply to a request for {_asked(effect)}, which "
                "the recorded policy did not make"
            )
        entry = replies.popleft()
        if isinstance(effect, Generate) and entry.generations and entry.cap != effect.cap:
            _check_lengths(entry.generations, recorded=entry.cap, now=effect.cap, asked=effect.max_tokens)
        return entry


def _asked(effect: Ask | Retrieve) -> str:
    match effect:
        case Generate(upstream=name):
            return f"answers of {name!r}"
        case Embed(embedder=name):
            return f"embeddings of {name!r}"
        case Entail(judge=name):
            return f"verdicts of {name!r}"
        case Retrieve():
            return "a search"


def _value(entry: TapeEntry) -> Any:
    held = (entry.generations, entry.passages, entry.vectors, entry.entailments)
    return next(value for value in held if value is not None)


def _check_lengths(held: Generations, *, recorded: int | None, now: int | None, asked: int | None) -> None:
    """Raise `ReplayGap` where the budget of today would have cut a recorded answer elsewhere than it was cut."""
    limits = [most for most in (recorded, asked) if most is not None]
    for answer in held.choices:
        length = held.usage.completion_tokens / len(held.choices) if answer.tokens is None else len(answer.tokens)
        cut_by_budget = answer.finish_reason == "length" and recorded is not None and recorded == min(limits)
        if cut_by_budget or (now is not None and length > now):
            raise ReplayGap("the budget leaves another number of tokens for this answer than when it was recorded")
