"""Keeping to a budget of tokens and money: a request is reckoned at its dearest before it is made, or is not made.

`metered` stands between a flow and whoever performs it. It is pure, so a replay refuses what the live run refused. What
a request may cost at most: its prompt (as many tokens as the upstream counted for the same messages before in this
question, else a third of their bytes and a few a message) and as many tokens of every answer as it may have. An answer
is given no more tokens than fit; a request in which none fits is refused with `EvidenceUnavailable`. So is what fans
out wider than the budget allows: more requests side by side, or answers to one of them, than its ``fan_out``.

A request is marked as ``tight`` unless half of the budget would be left after it had been made twice: no driver makes
it twice then, to have its reply sooner (`gate.drivers.hedging`), and other evidence keeps its room.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from gate.effects import Ask, Done, Effect, Embed, Entail, Flow, Generate, Reply, Together, advance, driven
from gate.errors import EvidenceUnavailable, GateError, UpstreamTimeout
from gate.ports import Price
from gate.types import Budget, Cost, JsonObject, Message

T = TypeVar("T")
_BYTES = 3
"""A token is seldom less than this many bytes of text, in any script."""
_A_MESSAGE = 4
_AN_ATTACHMENT = 1500
"""Tokens of an image and the like; how many it takes only the upstream knows."""
_ROUNDING = 1e-9
_ROOMY = 0.5
"""Of the budget, what must be left after a request that is made twice."""
Known = tuple[Generate, int]
"""A request, and the tokens its prompt turned out to have."""


@dataclass(frozen=True, slots=True)
class Sum:
    """So many tokens and so much money, in US dollars; infinite where there is no limit."""

    tokens: float = 0.0
    money: float = 0.0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.tokens + other.tokens, self.money + other.money)

    def __sub__(self, other: Sum) -> Sum:
        return Sum(self.tokens - other.tokens, self.money - other.money)

    def part(self, share: float) -> Sum:
        return Sum(math.floor(self.tokens * share) if math.isfinite(self.tokens) else math.inf, self.money * share)

    def short_of(self, other: Sum) -> str | None:
        """Of what there is less than the other, by name."""
        if self.tokens < other.tokens:
            return "tokens"
        return "money" if self.money < other.money * (1 - _ROUNDING) else None


_UNLIMITED, _NOTHING = Sum(math.inf, math.inf), Sum()


class Purse:
    """What one question, or a part of one, may spend. ``prices`` holds every endpoint whose tokens count."""

    def __init__(
        self,
        limit: Sum,
        prices: Mapping[str, Price],
        known: Iterable[Known] = (),
        fan_out: int | None = None,
        calls: float = math.inf,
        heard: Callable[[str, str], object] | None = None,
    ) -> None:
        """``calls``: of the budget, which is for the pipeline to keep to; here it tells what is ``tight``.

        ``heard`` is told of each reply who gave it, and by what name of a model.
        """
        self._limit = limit
        self._unlimited = limit == _UNLIMITED
        self._prices = prices
        self._fan_out = fan_out
        self._calls = calls
        self._heard = heard
        self._limited = calls < math.inf or limit != _UNLIMITED
        self._known = tuple(known)
        self.learned: list[Known] = []
        self.spent = Sum()
        self.called = 0
        self.short = False
        """Whether something was refused for want of it."""

    @classmethod
    def of(
        cls, budget: Budget, prices: Mapping[str, Price], heard: Callable[[str, str], object] | None = None
    ) -> Purse:
        tokens, money = (math.inf if most is None else most for most in (budget.tokens, budget.money))
        calls = math.inf if budget.calls is None else budget.calls
        return cls(Sum(tokens, money), prices, fan_out=budget.fan_out, calls=calls, heard=heard)

    @property
    def left(self) -> Sum:
        return self._limit - self.spent

    def perform(self, effect: Effect) -> Flow[Any]:
        """Have the effect performed, if what it may cost is there, and pay for it."""
        match effect:
            case Generate() | Embed() | Entail():
                if isinstance(effect, Generate):
                    self._refuse_wider(effect.n, "answers to one request")
                return (yield from self._ask(effect))
            case Together(flows):
                return (yield from self._together(flows))
            case _:
                return (yield effect)

    def _ask(self, effect: Ask) -> Flow[Any]:
        asked, dearest = self.afford(effect)
        if self._limited and not self._roomy(dearest, isinstance(effect, Generate)):
            asked = replace(asked, tight=True)
        try:
            reply = yield asked
        except (UpstreamTimeout, GeneratorExit):  # nobody will say what it came to
            self.spent += dearest
            raise
        except GateError as error:
            self._pay(error.cost or Cost())
            raise
        self._pay(reply.cost)
        if isinstance(effect, Generate):
            if reply.value.usage.prompt_tokens:
                self.learned.append((effect, reply.value.usage.prompt_tokens))
            if self._heard is not None and reply.value.model:
                self._heard(effect.upstream, reply.value.model)
        return reply

    def _pay(self, cost: Cost) -> None:
        self.spent += Sum(cost.tokens, cost.money)
        self.called += cost.calls

    def _roomy(self, dearest: Sum, calls: bool) -> bool:
        """Whether enough is left for other things after it is asked twice."""
        if calls and self._calls - self.called - 2 < _ROOMY * self._calls:
            return False
        left = self.left - dearest - dearest
        return left.tokens >= _ROOMY * self._limit.tokens and left.money >= _ROOMY * self._limit.money

    def afford(self, effect: Ask) -> tuple[Ask, Sum]:
        """The request with its answers cut to what fits, and what it then costs at most, where there is a limit. Raises
        where nothing fits."""
        if self._unlimited:
            return effect, _NOTHING
        prompt = self._prompt(effect)
        if not isinstance(effect, Generate):
            self._refuse_over(self.left.short_of(prompt))
            return effect, prompt
        price = self._price(effect.upstream).completion / 1e6
        self._refuse_over(self.left.short_of(prompt + Sum(effect.n, effect.n * price)))
        room = self.left - prompt
        fits = min(room.tokens / effect.n, room.money / (effect.n * price) if price else math.inf)
        if math.isfinite(fits):
            cap = max(1, math.floor(fits + _ROUNDING))
            effect = replace(effect, cap=cap if effect.cap is None else min(cap, effect.cap))
        written = effect.n * (effect.limit or 0)
        return effect, prompt + Sum(written, written * price)

    def _together(self, flows: tuple[Flow[Any], ...]) -> Flow[tuple[Any, ...]]:
        """Give each flow a purse of its own, so that none depends on how fast another was. All begin, or none."""
        purses: list[Purse] = []
        try:
            self._refuse_wider(len(flows), "requests side by side")
            firsts = [advance(flow, None, None) for flow in flows]
            purses = self._split(firsts)
            for purse, first in zip(purses, firsts, strict=True):
                if isinstance(first, Generate | Embed | Entail):
                    purse.afford(first)
            begun = (
                driven(flow, first, purse.perform) for flow, first, purse in zip(flows, firsts, purses, strict=True)
            )
            results: tuple[Any, ...] = yield Together(tuple(begun))
        finally:
            for flow in flows:  # those never gone on with
                flow.close()
            for purse in purses:
                self.spent += purse.spent
                self.called += purse.called
                self.learned += purse.learned
                self.short = self.short or purse.short
        return results

    def _split(self, firsts: list[Effect | Done[Any]]) -> list[Purse]:
        """To each the prompt of its first request, and of the rest as much as it asks answers."""
        calls = (self._calls - self.called) / len(firsts) if firsts else 0
        if self._unlimited:
            return [Purse(_UNLIMITED, self._prices, (), self._fan_out, calls, self._heard) for _ in firsts]
        prompts = [self._prompt(first) for first in firsts]
        rest = self.left - sum(prompts, Sum())
        self._refuse_over(rest.short_of(Sum()))
        answers = [first.n if isinstance(first, Generate) else 1 for first in firsts]
        shares = (prompt + rest.part(n / sum(answers)) for prompt, n in zip(prompts, answers, strict=True))
        known = (*self._known, *self.learned)
        return [Purse(share, self._prices, known, self._fan_out, calls, self._heard) for share in shares]

    def _refuse_wider(self, width: int, what: str) -> None:
        if self._fan_out is not None and width > self._fan_out:
            raise EvidenceUnavailable(f"it takes {width} {what}: the budget's fan_out allows {self._fan_out}")

    def _refuse_over(self, kind: str | None) -> None:
        if kind is not None:
            self.short = True
            raise EvidenceUnavailable(f"what is left of the budget of {kind} has no room for it")

    def _prompt(self, effect: Effect | Done[Any]) -> Sum:
        """What is read, at most. An embedder or judge without a price here reads for nothing."""
        match effect:
            case Generate():
                name, tokens = effect.upstream, self._prompt_tokens(effect)
            case Embed(name, texts):
                tokens = sum(_A_MESSAGE + _tokens(text) for text in texts) if name in self._prices else 0
            case Entail(name, pairs):
                tokens = sum(_A_MESSAGE + _tokens(a + b) for a, b in pairs) if name in self._prices else 0
            case _:
                return Sum()
        return Sum(tokens, tokens * self._price(name).prompt / 1e6)

    def _prompt_tokens(self, effect: Generate) -> int:
        for asked, tokens in (*self.learned, *self._known):
            if (asked.upstream, asked.messages, asked.extra) == (effect.upstream, effect.messages, effect.extra):
                return tokens
        return prompt_tokens(effect.messages, effect.extra)

    def _price(self, name: str) -> Price:
        return self._prices.get(name, Price())


def metered(flow: Flow[T], purse: Purse) -> Flow[T]:
    """The flow, paying for all it asks out of the purse."""
    return (yield from driven(flow, advance(flow, None, None), purse.perform))


@dataclass(slots=True)
class Tally:
    """What a flow has cost so far."""

    paid: Cost = Cost()


def tallied(flow: Flow[T], tally: Tally) -> Flow[T]:
    """The flow; an error that leaves it carries the cost of all it did, not of its last request alone."""
    reply: Any = None
    error: GateError | None = None
    with contextlib.closing(flow):
        while True:
            try:
                effect = advance(flow, reply, error)
            except GateError as leaving:
                leaving.cost = tally.paid
                raise
            if isinstance(effect, Done):
                return effect.result
            reply, error = None, None
            try:
                reply = yield from _counted(effect, tally)
            except GateError as raised:
                tally.paid += raised.cost or Cost()
                error = raised


def _counted(effect: Effect, tally: Tally) -> Flow[Any]:
    if not isinstance(effect, Together):
        reply = yield effect
        tally.paid += reply.cost if isinstance(reply, Reply) else Cost()
        return reply
    tallies = [Tally() for _ in effect.flows]
    results = yield Together(tuple(tallied(*each) for each in zip(effect.flows, tallies, strict=True)))
    tally.paid += Cost.together(each.paid for each in tallies)
    return results


def prompt_tokens(messages: tuple[Message, ...], extra: JsonObject) -> int:
    """How many tokens a prompt has at most, by its bytes."""
    beside = _tokens(json.dumps(extra, default=str)) if extra else 0
    return _A_MESSAGE + beside + sum(_A_MESSAGE + _message_tokens(message) for message in messages)


def _message_tokens(message: Message) -> int:
    if message.wire is None:
        return _tokens(message.content)
    parts = message.wire.get("content")
    attached = [part for part in parts if part.get("type") != "text"] if isinstance(parts, list) else []
    others = {name: value for name, value in message.wire.items() if name != "content"}
    return _tokens(message.content) + _tokens(json.dumps(others, default=str)) + _AN_ATTACHMENT * len(attached)


def _tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES)


def no_room(budget: Budget, spent: Cost, calls: int) -> str | None:
    """Why so many more calls are not in the budget, or None. What makes no call always is."""
    if not calls:
        return None
    if budget.calls is not None and spent.calls + calls > budget.calls:
        return f"the budget of {budget.calls} calls has no room for it"
    for kind in ("tokens", "seconds", "money"):
        most = getattr(budget, kind)
        if most is not None and getattr(spent, kind) >= most:
            return f"the budget of {most:g} {kind} is spent"
    return None
