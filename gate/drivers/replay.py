"""Run flows from a recording, with no calls."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
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
    family_key,
)
from gate.errors import EvidenceUnavailable, GateError, ReplayGap, UpstreamError, UpstreamTimeout
from gate.ports import Price
from gate.types import Generations, TapeEntry, Usage

T = TypeVar("T")


class ReplayDriver:
    """Answers every effect from a tape, so that a flow can be run again with no calls.

    With ``prices``, a request for several answers can also be answered with the first of a recorded reply to the same
    request for more of them; its cost is reckoned anew, but for the time, of which only the longer is known. Raises
    `ReplayGap` when the flow asks for something the tape does not hold: such a flow cannot be judged from it.
    """

    def __init__(self, tape: Iterable[TapeEntry], prices: Mapping[str, Price] | None = None) -> None:
        self._replies: dict[str, deque[TapeEntry]] = {}
        self._families: dict[str, list[TapeEntry]] = {}
        self._prices = prices
        for entry in tape:
            self._replies.setdefault(entry.key, deque()).append(entry)
            if entry.family and prices is not None:
                self._families.setdefault(entry.family, []).append(entry)

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
                return recorded_reply(entry)
            case Together(flows):
                return tuple(self.run(flow, recording) for flow in flows)
            case Observe(step):
                recording.steps.append(step)
                return None

    def _next(self, effect: Ask | Retrieve) -> TapeEntry:
        replies = self._replies.get(effect_key(effect))
        entry = replies.popleft() if replies else self._first_of_more(effect)
        if entry is None:
            raise ReplayGap(
                f"this cannot be told from the recording: it holds no reply to a request for {_asked(effect)}, which "
                "the recorded policy did not make"
            )
        if isinstance(effect, Generate) and entry.generations and entry.cap != effect.cap:
            _check_lengths(entry.generations, recorded=entry.cap, now=effect.cap, asked=effect.max_tokens)
        return entry

    def _first_of_more(self, effect: Ask | Retrieve) -> TapeEntry | None:
        """The first answers of a reply to a request for more of the same."""
        if not isinstance(effect, Generate) or effect.n < 2 or not self._families:
            return None
        held = self._families.get(family_key(effect), [])
        wider = min((entry for entry in held if entry.n > effect.n), key=lambda entry: entry.n, default=None)
        if wider is None or wider.generations is None or self._prices is None:
            return None
        held.remove(wider)
        return _thinned(wider, wider.generations, effect.n, self._prices.get(effect.upstream, Price()))


def _thinned(entry: TapeEntry, held: Generations, n: int, price: Price) -> TapeEntry:
    """The entry as if only ``n`` answers had been asked for."""
    kept = held.choices[:n]
    lengths = [None if choice.tokens is None else len(choice.tokens) for choice in held.choices]
    written = held.usage.completion_tokens
    if None in lengths or not any(lengths):
        written = round(written * len(kept) / len(held.choices))
    else:
        written = round(written * sum(filter(None, lengths[:n])) / sum(filter(None, lengths)))
    usage = Usage(held.usage.prompt_tokens, written)
    money = (usage.prompt_tokens * price.prompt + written * price.completion) / 1e6
    cost = replace(entry.cost, completion_tokens=written, money=money)
    return replace(entry, n=n, cost=cost, generations=replace(held, choices=kept, usage=usage))


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


def recorded_reply(entry: TapeEntry) -> Reply[Any]:
    """What a driver sent back when this was recorded. The entry must not be that of a failure."""
    held = (entry.generations, entry.passages, entry.vectors, entry.entailments)
    return Reply(next(value for value in held if value is not None), entry.cost)


def _check_lengths(held: Generations, *, recorded: int | None, now: int | None, asked: int | None) -> None:
    """Raise `ReplayGap` where the budget of today would have cut a recorded answer elsewhere than it was cut."""
    limits = [most for most in (recorded, asked) if most is not None]
    for answer in held.choices:
        length = held.usage.completion_tokens / len(held.choices) if answer.tokens is None else len(answer.tokens)
        cut_by_budget = answer.finish_reason == "length" and recorded is not None and recorded == min(limits)
        if cut_by_budget or (now is not None and length > now):
            raise ReplayGap("the budget leaves another number of tokens for this answer than when it was recorded")
