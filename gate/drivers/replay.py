"""Run flows from a recording, with no calls."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from gate.drivers.world import Recording, search_failed, tape_entry
from gate.effects import (
    Done,
    Effect,
    Embed,
    Entail,
    Flow,
    Generate,
    HandOver,
    Observe,
    Reply,
    Request,
    Retrieve,
    Together,
    advance,
    effect_key,
    family_key,
)
from gate.errors import EvidenceUnavailable, GateError, ReplayGap, UpstreamError, UpstreamTimeout
from gate.ports import Price
from gate.traces import STATES_NOT_KEPT, TapeEntry
from gate.types import Cost, Generation, Generations, Usage

T = TypeVar("T")


class ReplayDriver:
    """Answers every effect from a tape, so that a flow can be run again with no calls.

    With ``prices``, a request for answers can also be answered with the first of a recorded reply to the same request
    for more of them; its cost is reckoned anew, but for the time, of which only the longer is known. Raises
    `ReplayGap` when the flow asks for something the tape does not hold: such a flow cannot be judged from it. No person
    is ever asked: a hand-over that the tape does not hold has the reference "".
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
            case Generate() | Embed() | Entail() | Retrieve() | HandOver():
                entry = self._next(effect)
                recording.tape.append(entry)
                if entry.failure:
                    failed = entry.failure
                    kind = UpstreamTimeout if failed.timeout else UpstreamError
                    error = kind(failed.upstream, failed.cause, said=failed.said, status=failed.status)
                    error.cost = entry.cost
                    raise search_failed(effect, error) if isinstance(effect, Retrieve) else error
                return recorded_reply(entry)
            case Together(flows):
                return tuple(self.run(flow, recording) for flow in flows)
            case Observe(step):
                recording.steps.append(step)
                return None

    def _next(self, effect: Request) -> TapeEntry:
        replies = self._replies.get(effect_key(effect))
        if replies:
            entry: TapeEntry | None = self._take(replies[0])
        else:
            entry = self._told_from_others(effect)
        if entry is None and isinstance(effect, HandOver):  # it bears on no answer
            return tape_entry(effect, Cost(), "")
        if entry is None:
            raise ReplayGap(
                f"this cannot be told from the recording: it holds no reply to a request for {_asked(effect)}, which "
                "the recorded policy did not make"
            )
        if isinstance(effect, Generate) and entry.generations and entry.cap != effect.cap:
            _check_lengths(entry, entry.generations, effect)
        if isinstance(effect, Generate) and effect.states is not None and entry.generations:
            _check_states(entry.generations)
        return entry

    def _told_from_others(self, effect: Request) -> TapeEntry | None:
        if not isinstance(effect, Generate) or self._prices is None or not self._families:
            return None
        held = self._families.get(family_key(effect), [])
        price = self._prices.get(effect.upstream, Price())
        return self._first_of_more(effect, held, price) if effect.part_of is None else self._drawn(effect, held, price)

    def _first_of_more(self, effect: Generate, held: list[TapeEntry], price: Price) -> TapeEntry | None:
        """The first answers of a reply to a request for more of the same. Where that failed, this would have failed."""
        wider = min((entry for entry in held if entry.n > effect.n), key=lambda entry: entry.n, default=None)
        if wider is None:
            return None
        self._take(wider)
        told = wider if wider.generations is None else _parts(wider, effect.n, price)[0]
        return replace(told, n=effect.n)

    def _drawn(self, effect: Generate, held: list[TapeEntry], price: Price) -> TapeEntry | None:
        """The next answers of those drawn to the same request, in whichever parts they came.

        Any of them would do for any other. None where there are not as many; where the next of them failed to come, it
        would have failed.
        """
        made: TapeEntry | None = None
        while held and (made is None or made.n < effect.n):
            entry, left = held[0], effect.n - (made.n if made else 0)
            if made and entry.generations is None:
                return made
            if made and entry.cap != made.cap:
                return None
            self._take(entry)
            part, rest = _failed(entry, left) if entry.generations is None else _parts(entry, left, price)
            if rest is not None:
                held.insert(0, rest)
            made = _joined(made, part, price) if made else part
            if made.generations is None:
                return made
        return made if made is not None and made.n == effect.n else None

    def _take(self, entry: TapeEntry) -> TapeEntry:
        """The very entry, not one like it: a reply is given once, whole or in part."""
        for listed in (self._replies[entry.key], self._families.get(entry.family, [])):
            for place, each in enumerate(listed):
                if each is entry:
                    del listed[place]
                    break
        return entry


def _failed(entry: TapeEntry, n: int) -> tuple[TapeEntry, TapeEntry | None]:
    """The failure of so many of the answers, and of the others."""
    return replace(entry, n=n), replace(entry, n=entry.n - n) if entry.n > n else None


def _parts(entry: TapeEntry, n: int, price: Price) -> tuple[TapeEntry, TapeEntry | None]:
    """The reply as if only its first ``n`` answers had been asked for, and the reply that holds the others."""
    held = entry.generations
    assert held is not None  # noqa: S101 - a failure has no parts
    kept, rest = held.choices[:n], held.choices[n:]
    lengths = [None if choice.tokens is None else len(choice.tokens) for choice in held.choices]
    written = held.usage.completion_tokens
    if None in lengths or not any(lengths):
        mine = round(written * len(kept) / len(held.choices))
    else:
        mine = round(written * sum(filter(None, lengths[:n])) / sum(filter(None, lengths)))
    first = _with(entry, kept, mine, price)
    return first, _with(entry, rest, written - mine, price) if rest else None


def _with(entry: TapeEntry, choices: tuple[Generation, ...], written: int, price: Price) -> TapeEntry:
    """The reply with these answers alone, of so many tokens. Its time is that of the whole: no other is known."""
    held = entry.generations
    assert held is not None  # noqa: S101 - see above
    usage = Usage(held.usage.prompt_tokens, written)
    money = price.of(usage.prompt_tokens, written)
    cost = replace(entry.cost, completion_tokens=written, money=money)
    return replace(entry, n=len(choices), cost=cost, generations=replace(held, choices=choices, usage=usage))


def _joined(one: TapeEntry, other: TapeEntry, price: Price) -> TapeEntry:
    """Both as one reply to one request: its prompt is paid for once."""
    prompt = other.cost.prompt_tokens * price.prompt / 1e6
    first, second = one.generations, other.generations
    assert first is not None  # noqa: S101 - failures are not joined
    assert second is not None  # noqa: S101
    usage = Usage(first.usage.prompt_tokens, first.usage.completion_tokens + second.usage.completion_tokens)
    cost = replace(
        one.cost,
        completion_tokens=one.cost.completion_tokens + other.cost.completion_tokens,
        seconds=max(one.cost.seconds, other.cost.seconds),
        money=one.cost.money + other.cost.money - prompt,
    )
    return replace(
        one,
        n=one.n + other.n,
        cost=cost,
        generations=replace(first, choices=first.choices + second.choices, usage=usage),
    )


def _asked(effect: Request) -> str:
    match effect:
        case Generate(upstream=name):
            return f"answers of {name!r}"
        case Embed(embedder=name):
            return f"embeddings of {name!r}"
        case Entail(judge=name):
            return f"verdicts of {name!r}"
        case Retrieve():
            return "a search"
        case HandOver(person=name):
            return f"the person {name!r}"


def recorded_reply(entry: TapeEntry) -> Reply[Any]:
    """What a driver sent back when this was recorded. The entry must not be that of a failure."""
    held = (entry.generations, entry.passages, entry.vectors, entry.entailments, entry.reference)
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
