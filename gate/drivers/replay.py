"""Run flows from a recording, with no calls."""

from __future__ import annotations

import contextlib
import math
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
from gate.traces import STATES_NOT_KEPT, TapeEntry
from gate.types import Generation, Generations, Usage

T = TypeVar("T")


class ReplayDriver:
    """Answers every effect from a tape, so that a flow can be run again with no calls.

    With ``prices``, a request for answers can also be answered with the first of a recorded reply to the same request
    for more of them; its cost is reckoned anew, but for the time, of which only the longer is known. Raises
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
        if entry in (family := self._families.get(entry.family, [])):  # a reply is given once, whole or in part
            family.remove(entry)
        if isinstance(effect, Generate) and entry.generations and entry.cap != effect.cap:
            _check_lengths(entry, entry.generations, effect)
        if isinstance(effect, Generate) and effect.states is not None and entry.generations:
            _check_states(entry.generations)
        return entry

    def _first_of_more(self, effect: Ask | Retrieve) -> TapeEntry | None:
        """The first answers of a reply to a request for more of the same. Where that failed, this would have failed."""
        if not isinstance(effect, Generate) or self._prices is None or not self._families:
            return None
        held = self._families.get(family_key(effect), [])
        wider = min((entry for entry in held if entry.n > effect.n), key=lambda entry: entry.n, default=None)
        if wider is None:
            return None
        self._replies[wider.key].remove(wider)
        held.remove(wider)
        if wider.generations is None:
            return replace(wider, n=effect.n)
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


def cut_by_budget(entry: TapeEntry, max_tokens: int | None) -> bool:
    """Whether an answer of this reply ended because the budget left it no more tokens.

    ``max_tokens`` is the most that were asked for: what ended there, or at a limit of the upstream's own, would have
    ended there under any budget.
    """
    held, cap = entry.generations, entry.cap
    if held is None or cap is None or (max_tokens is not None and max_tokens <= cap):
        return False
    return any(answer.finish_reason == "length" and _longest(answer, held.usage) >= cap for answer in held.choices)


def _longest(answer: Generation, usage: Usage) -> float:
    """The most tokens the answer can have had."""
    return (usage.completion_tokens or math.inf) if answer.tokens is None else len(answer.tokens)


def _check_states(held: Generations) -> None:
    """Raise `ReplayGap` where it cannot be told what was read inside the model: it was not kept, or not asked for."""
    if any(answer.states is None and answer.no_states in ("", STATES_NOT_KEPT) for answer in held.choices):
        raise ReplayGap(
            "this cannot be told from the recording: it holds no internal states of an answer. They are kept by "
            "--states beside --text, of policies that read them"
        )


def _check_lengths(entry: TapeEntry, held: Generations, effect: Generate) -> None:
    """Raise `ReplayGap` where the budget of today would have cut a recorded answer elsewhere than it was cut."""
    gap = cut_by_budget(entry, effect.max_tokens)
    for answer in held.choices:
        length = held.usage.completion_tokens / len(held.choices) if answer.tokens is None else len(answer.tokens)
        gap = gap or (effect.cap is not None and length > effect.cap)
    if gap:
        raise ReplayGap("the budget leaves another number of tokens for this answer than when it was recorded")
